/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/mac.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Bits of the first byte. Source: IEEE 802-2014, 8.2.2. */
#define GROUP 0x01u
#define LOCAL 0x02u

/* The next of the sequence that begins with hash; an odd step visits every value. */
static uint64_t
step(uint64_t hash)
{
    return hash + 0x9e3779b97f4a7c15u;
}

void
vm_mac_derive(uint64_t hash, uint8_t ret_mac[VM_MAC_LEN])
{
    for (unsigned n = 0; n < VM_MAC_LEN; n++)
        ret_mac[n] = (uint8_t)(hash >> (8 * n));
    ret_mac[0] = (uint8_t)((ret_mac[0] | LOCAL) & ~GROUP);
}

int
vm_mac_alloc(uint64_t hash, vm_mac_in_use_fn *in_use, void *arg,
             uint8_t ret_mac[VM_MAC_LEN])
{
    uint8_t mac[VM_MAC_LEN];

    for (unsigned i = 0; i < VM_MAC_TRIES; i++, hash = step(hash)) {
        vm_mac_derive(hash, mac);
        if (in_use(arg, mac))
            continue;
        memcpy(ret_mac, mac, VM_MAC_LEN);
        return 0;
    }
    return -ENOSPC;
}

bool
vm_mac_is_valid(const uint8_t mac[VM_MAC_LEN])
{
    return (mac[0] & LOCAL) && !(mac[0] & GROUP);
}

const char *
vm_mac_format(const uint8_t mac[VM_MAC_LEN], char text[VM_MAC_TEXT_MAX])
{
    (void)snprintf(text, VM_MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
                   mac[2], mac[3], mac[4], mac[5]);
    return text;
}
