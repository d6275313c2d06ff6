/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/index_internal.h - VMs by (owner, name), in constant time. */
#pragma once

#include <stddef.h>

struct concierge_vm;
struct vm_id;

/* All zeroes after vm_index_init failed, and after vm_index_done. */
struct vm_index {
    struct concierge_vm **buckets; /* owned; chains by index_next */
    size_t nbuckets;               /* a power of two */
    size_t n;
};

/* Returns 0 or -ENOMEM. */
int vm_index_init(struct vm_index *index);
/* The VMs are not touched. */
void vm_index_done(struct vm_index *index);

/* Never fails: without memory to grow, look-ups get slower. vm is in no index. */
void vm_index_add(struct vm_index *index, struct concierge_vm *vm);
/* A vm that is in no index is left alone. */
void vm_index_remove(struct vm_index *index, struct concierge_vm *vm);
/* NULL if there is none. */
struct concierge_vm *vm_index_find(const struct vm_index *index, const char *owner,
                                   const char *name);
