/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/subnet.h - which IPv4 subnet a VM gets. Addresses are in host order. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Offsets in the subnet of a VM and in that of its containers (spec/concierge.md 3). */
#define VM_SUBNET_GATEWAY 1u   /* the host's side of the tap */
#define VM_SUBNET_GUEST 2u     /* the VM */
#define VM_SUBNET_CONTAINER 1u /* the VM in the subnet of its containers */
#define VM_SUBNET_PREFIX 30u
#define VM_CONTAINER_PREFIX 28u

#define VM_RANGE_TEXT_MAX 19 /* "255.255.255.255/32" and a NUL */

/* The addresses that agree with address in the first prefix bits, 0 .. 32. */
struct vm_range {
    uint32_t address; /* the lowest of them */
    unsigned prefix;
};

uint32_t vm_range_mask(unsigned prefix);
bool vm_range_overlaps(const struct vm_range *a, const struct vm_range *b);
/* "100.115.92.0/24": four decimal numbers, a prefix of 0 to 32, no bit set behind it.
 * Returns 0 or -EINVAL. */
int vm_range_parse(const char *text, struct vm_range *ret_range);
const char *vm_range_format(const struct vm_range *range, char text[VM_RANGE_TEXT_MAX]);

struct vm_subnet_pool {
    struct vm_range range;
    unsigned prefix;     /* of one subnet, not below that of range */
    bool first_reserved; /* subnet 0 goes to nobody */
};

/* How a subnet was used: VM_SUBNET_FREE never, VM_SUBNET_TAKEN now or by somebody else,
 * in between when it was used last: a greater value is later. */
#define VM_SUBNET_FREE 0u
#define VM_SUBNET_TAKEN UINT64_MAX
typedef uint64_t vm_subnet_used_fn(void *arg, const struct vm_range *subnet);

/* Take the first subnet of the pool that was never used, looking from a place that hash
 * gives; without one, that whose use is longest ago: a subnet comes back as late as
 * possible. Every subnet is asked about at most once. Returns 0, or -ENOSPC when all are
 * taken. */
int vm_subnet_alloc(const struct vm_subnet_pool *pool, uint64_t hash,
                    vm_subnet_used_fn *used, void *arg, struct vm_range *ret_subnet);
