/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/subnet.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

uint32_t
vm_range_mask(unsigned prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

bool
vm_range_overlaps(const struct vm_range *a, const struct vm_range *b)
{
    uint32_t mask = vm_range_mask(a->prefix < b->prefix ? a->prefix : b->prefix);

    return ((a->address ^ b->address) & mask) == 0;
}

/* A decimal number without a sign or needless zeroes, up to max. Returns what follows it,
 * NULL if there is none. */
static const char *
take_number(const char *text, uint32_t max, uint32_t *ret)
{
    const char *begin = text;
    uint32_t n = 0;

    for (; *text >= '0' && *text <= '9' && text - begin < 3; text++)
        n = n * 10 + (uint32_t)(*text - '0');
    if (text == begin || n > max || (*begin == '0' && text - begin > 1))
        return NULL;
    *ret = n;
    return text;
}

int
vm_range_parse(const char *text, struct vm_range *ret_range)
{
    uint32_t address = 0, n;

    for (int i = 0; i < 5; i++) {
        text = take_number(text, i < 4 ? 255 : 32, &n);
        if (!text || *text != (i < 3 ? '.' : i == 3 ? '/' : '\0'))
            return -EINVAL;
        if (i < 4)
            address = address << 8 | n;
        if (*text)
            text++;
    }
    if (address & ~vm_range_mask(n))
        return -EINVAL;
    *ret_range = (struct vm_range){.address = address, .prefix = n};
    return 0;
}

const char *
vm_range_format(const struct vm_range *range, char text[VM_RANGE_TEXT_MAX])
{
    uint32_t a = range->address;

    (void)snprintf(text, VM_RANGE_TEXT_MAX, "%u.%u.%u.%u/%u", a >> 24, a >> 16 & 0xff,
                   a >> 8 & 0xff, a & 0xff, range->prefix > 32 ? 32 : range->prefix);
    return text;
}

int
vm_subnet_alloc(const struct vm_subnet_pool *pool, uint64_t hash, vm_subnet_used_fn *used,
                void *arg, struct vm_range *ret_subnet)
{
    uint64_t count = 1ull << (pool->prefix - pool->range.prefix);
    uint64_t first = pool->first_reserved ? 1 : 0, size = count - first;
    uint64_t best = VM_SUBNET_TAKEN;
    struct vm_range subnet = {.prefix = pool->prefix}, found = {0};

    for (uint64_t i = 0; i < size && best != VM_SUBNET_FREE; i++) {
        uint64_t index = first + (hash % size + i) % size, use;

        subnet.address = pool->range.address + (uint32_t)(index << (32 - pool->prefix));
        use = used(arg, &subnet);
        if (use >= best)
            continue;
        best = use;
        found = subnet;
    }
    if (best == VM_SUBNET_TAKEN)
        return -ENOSPC;
    *ret_subnet = found;
    return 0;
}
