/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/lease.h"

#include <string.h>

static struct vm_lease *
slot_of(struct vm_leases *leases, uint64_t hash)
{
    struct vm_lease *oldest = &leases->v[0];

    for (size_t i = 0; i < leases->n; i++) {
        if (leases->v[i].hash == hash)
            return &leases->v[i];
        if (leases->v[i].used < oldest->used)
            oldest = &leases->v[i];
    }
    return leases->n < VM_LEASES_MAX ? &leases->v[leases->n++] : oldest;
}

const struct vm_lease *
vm_leases_find(const struct vm_leases *leases, uint64_t hash)
{
    for (size_t i = 0; i < leases->n; i++)
        if (leases->v[i].hash == hash)
            return &leases->v[i];
    return NULL;
}

const struct vm_lease *
vm_leases_find_subnet(const struct vm_leases *leases, uint32_t address)
{
    for (size_t i = 0; address && i < leases->n; i++)
        if (leases->v[i].subnet == address || leases->v[i].container == address)
            return &leases->v[i];
    return NULL;
}

const struct vm_lease *
vm_leases_find_mac(const struct vm_leases *leases, const uint8_t mac[VM_MAC_LEN])
{
    for (size_t i = 0; i < leases->n; i++)
        if (memcmp(leases->v[i].mac, mac, VM_MAC_LEN) == 0)
            return &leases->v[i];
    return NULL;
}

static void
take_from_others(struct vm_leases *leases, const struct vm_lease *lease)
{
    for (size_t i = 0; i < leases->n; i++) {
        struct vm_lease *l = &leases->v[i];

        if (l->hash == lease->hash)
            continue;
        if (l->subnet == lease->subnet)
            l->subnet = 0;
        if (l->container == lease->container)
            l->container = 0;
    }
}

void
vm_leases_put(struct vm_leases *leases, const struct vm_lease *lease)
{
    struct vm_lease *slot = slot_of(leases, lease->hash);

    *slot = *lease;
    slot->used = ++leases->clock;
    take_from_others(leases, slot);
}
