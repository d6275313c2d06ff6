/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/network_internal.h - numbers and addresses that VMs hold, and how VMs
 * are connected. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/host_net.h"
#include "core/adapter/hypervisor.h"
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

/* How VMs are connected that do not ask for anything else. */
struct concierge_connection {
    enum hypervisor_net by_default;
    bool open;               /* taps can be made, and left-overs are removed */
    struct vmt_timer *timer; /* owned: looks after the rules, NULL without a tap */
};

/* What one VM has of it. */
struct vm_network {
    uint8_t mac[VM_MAC_LEN];        /* all zeroes: the VM has no network device of ours */
    char mac_text[VM_MAC_TEXT_MAX]; /* "" without one */
    uint32_t port;                  /* of its file server on the host, 0: none */
    struct host_net_vm host;        /* HYPERVISOR_NET_TAP only; tap is "" before it */
    int tap_fd; /* owned, until the hypervisor has it; below 1: none */
};

/* --- resources.c --- */
/* Give vm its cid, port, address and subnets, and remember them before they are used. On
 * failure it holds none. Returns 0, -ENOSPC or what the host or the record gave. */
int vm_take_numbers(struct concierge_vm *vm, struct vmt_err *err);

/* --- network.c --- */
/* Once, after VMs of an earlier daemon were taken over: decide what VMs get by default,
 * make the rules of those that are there anew, remove what is left of others. */
void network_start(struct concierge *c);
/* The daemon ends. */
void network_stop(struct concierge *c);
/* Which network a request gets; wanted is "user", "tap", "none", or "" for the default.
 * Returns 0, -EINVAL, -ENOTSUP or why there are no taps. */
int network_choose(struct concierge *c, const char *wanted, enum hypervisor_net *ret_net,
                   struct vmt_err *err);
/* Make the VM's tap, if it is to have one; the numbers are taken. */
int network_connect(struct concierge_vm *vm, struct vmt_err *err);
/* A tap that leads nowhere, for a template of VMs with a tap; it ends with *ret_fd, which
 * stays as it is for those with another network. */
int network_spare(struct concierge *c, enum hypervisor_net net, int *ret_fd,
                  struct vmt_err *err);
/* The hypervisor has the tap now, or the VM is forgotten. */
void network_close_fd(struct concierge_vm *vm);
/* Undo network_connect. */
void network_disconnect(struct concierge_vm *vm);
const char *network_name(enum hypervisor_net net);
enum hypervisor_net network_by_name(const char *name); /* unknown: none */

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
