/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/lease.h - the addresses that VMs had, so that each gets its own again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/vm/mac.h"

/* More than a pool of the default size has subnets; 40 bytes each in the daemon's record.
 */
#define VM_LEASES_MAX 256u

struct vm_lease {
    uint64_t hash;      /* of the VM's key */
    uint64_t used;      /* greater is later; never 0 */
    uint32_t subnet;    /* network address of the VM's subnet, 0: none */
    uint32_t container; /* of the subnet of its containers, 0: none */
    uint8_t mac[VM_MAC_LEN];
};

struct vm_leases {
    struct vm_lease v[VM_LEASES_MAX];
    size_t n;
    uint64_t clock; /* the highest used */
};

/* NULL when nothing is remembered. The pointer lasts until the next put. */
const struct vm_lease *vm_leases_find(const struct vm_leases *leases, uint64_t hash);
/* The lease of a subnet, of a VM or of containers; NULL: nobody's. */
const struct vm_lease *vm_leases_find_subnet(const struct vm_leases *leases,
                                             uint32_t address);
const struct vm_lease *vm_leases_find_mac(const struct vm_leases *leases,
                                          const uint8_t mac[VM_MAC_LEN]);

/* Remember lease as the latest, whatever its used says. It replaces that of the same
 * hash; subnets that it names are taken from others, and when the table is full the one
 * that is longest ago is forgotten. */
void vm_leases_put(struct vm_leases *leases, const struct vm_lease *lease);
