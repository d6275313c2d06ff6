/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/index_internal.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/concierge/concierge_internal.h"

#define BUCKETS_MIN 64u
#define LOAD_MAX 2u /* VMs per bucket before the table doubles */

/* FNV-1a, 64 bits; names are no secret, and an owner with many bad ones slows only the
 * look-ups in a bucket down. */
static uint64_t
hash_text(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return (h ^ 0xff) * 1099511628211u; /* no text has this byte: "ab","c" is not "a","bc"
                                         */
}

static struct concierge_vm **
bucket_of(const struct vm_index *index, const char *owner, const char *name)
{
    uint64_t h = hash_text(hash_text(14695981039346656037u, owner), name);

    return &index->buckets[(h ^ h >> 32) & (index->nbuckets - 1)];
}

int
vm_index_init(struct vm_index *index)
{
    *index =
        (struct vm_index){.buckets = calloc(BUCKETS_MIN, sizeof(struct concierge_vm *))};
    if (!index->buckets)
        return -ENOMEM;
    index->nbuckets = BUCKETS_MIN;
    return 0;
}

void
vm_index_done(struct vm_index *index)
{
    free(index->buckets);
    *index = (struct vm_index){.buckets = NULL};
}

static void
put(struct vm_index *index, struct concierge_vm *vm)
{
    struct concierge_vm **bucket = bucket_of(index, vm->id.owner, vm->id.name);

    vm->index_next = *bucket;
    *bucket = vm;
}

static void
grow(struct vm_index *index)
{
    struct vm_index bigger = {
        .buckets = calloc(index->nbuckets * 2, sizeof(struct concierge_vm *)),
        .nbuckets = index->nbuckets * 2,
        .n = index->n,
    };
    struct concierge_vm *vm, *next;

    if (!bigger.buckets)
        return;
    for (size_t i = 0; i < index->nbuckets; i++) {
        for (vm = index->buckets[i]; vm; vm = next) {
            next = vm->index_next;
            put(&bigger, vm);
        }
    }
    free(index->buckets);
    *index = bigger;
}

void
vm_index_add(struct vm_index *index, struct concierge_vm *vm)
{
    if (index->n >= index->nbuckets * LOAD_MAX)
        grow(index);
    put(index, vm);
    index->n++;
}

void
vm_index_remove(struct vm_index *index, struct concierge_vm *vm)
{
    struct concierge_vm **at = bucket_of(index, vm->id.owner, vm->id.name);

    while (*at && *at != vm)
        at = &(*at)->index_next;
    if (!*at)
        return;
    *at = vm->index_next;
    vm->index_next = NULL;
    index->n--;
}

struct concierge_vm *
vm_index_find(const struct vm_index *index, const char *owner, const char *name)
{
    struct concierge_vm *vm = *bucket_of(index, owner, name);

    while (vm && vm_id_compare(&vm->id, owner, name) != 0)
        vm = vm->index_next;
    return vm;
}
