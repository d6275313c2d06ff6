/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/mac.h - the address of a VM's network device. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VM_MAC_LEN 6
#define VM_MAC_TEXT_MAX 18

/* Does another VM have mac? */
typedef bool vm_mac_in_use_fn(void *arg, const uint8_t mac[VM_MAC_LEN]);

/* The address of the VM whose key hashes to hash (vm_key_hash): locally administered, of
 * one station, and the same whenever the hash is the same, unless another VM has it; then
 * the next of a fixed sequence. Returns 0, or -ENOSPC when VM_MAC_TRIES in a row were
 * taken. */
#define VM_MAC_TRIES 64u
int vm_mac_alloc(uint64_t hash, vm_mac_in_use_fn *in_use, void *arg,
                 uint8_t ret_mac[VM_MAC_LEN]);

/* The first of the sequence. */
void vm_mac_derive(uint64_t hash, uint8_t ret_mac[VM_MAC_LEN]);

/* Are there two bits that say: made here, and of one station? All zeroes are no address.
 */
bool vm_mac_is_valid(const uint8_t mac[VM_MAC_LEN]);

/* "52:54:00:00:00:20". Returns text. */
const char *vm_mac_format(const uint8_t mac[VM_MAC_LEN], char text[VM_MAC_TEXT_MAX]);
