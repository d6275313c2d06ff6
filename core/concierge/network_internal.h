/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/network_internal.h - numbers and addresses that VMs hold. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/vm/lease.h"
#include "core/vm/mac.h"

struct concierge;
struct concierge_vm;
struct host_dns;
struct vmt_err;
typedef struct VmTools__Concierge__VmInfo VmTools__Concierge__VmInfo;

/* What the daemon remembers beyond the life of any VM. */
struct concierge_numbers {
    uint32_t next_cid, next_port;
    struct vm_leases leases;
};

/* What one VM has of it. */
struct vm_network {
    uint8_t mac[VM_MAC_LEN];        /* all zeroes: the VM has no network device of ours */
    char mac_text[VM_MAC_TEXT_MAX]; /* "" without one */
    uint32_t port;                  /* of its file server on the host, 0: none */
};

/* --- resources.c --- */
/* Give vm its cid, port and address, and remember them before they are used. On failure
 * it holds none. Returns 0, -ENOSPC or what the record gave. */
int vm_take_numbers(struct concierge_vm *vm, struct vmt_err *err);

/* --- network.c --- */
/* An address in host order as it stands in a message: in network order in memory. */
uint32_t network_order(uint32_t address);
/* Its IPv4 configuration, in host order. Returns whether it has one. */
struct network_ipv4 {
    uint32_t address, mask, gateway;
};
bool network_ipv4(const struct concierge_vm *vm, struct network_ipv4 *ret);
/* Whom it asks for names. */
void network_dns(const struct concierge_vm *vm, struct host_dns *ret_dns);
/* Say in info how vm is connected; strings are borrowed from vm. */
void network_info(const struct concierge_vm *vm, VmTools__Concierge__VmInfo *info);
