/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/host_net.h - the host's network, as far as VMs with a tap need it: a tap
 * per VM, an address and routes on it, and rules for what passes. Addresses are IPv4 in
 * host order. Every call is one or a few exchanges with the kernel, milliseconds. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;
struct host_net;

#define HOST_NET_NAME_MAX 16 /* of an interface, with its NUL: IFNAMSIZ */
#define HOST_NET_MAC_LEN 6

/* What one VM has. The host takes gateway/prefix on the tap; the VM may send from guest
 * and from the containers' range, which is routed to guest, and with mac only. */
struct host_net_vm {
    char tap[HOST_NET_NAME_MAX]; /* "": not made yet */
    uint32_t guest, gateway;
    unsigned prefix;
    uint32_t container; /* 0: no containers */
    unsigned container_prefix;
    uint8_t mac[HOST_NET_MAC_LEN];
};

/* An address range that the host uses or has a route for. */
typedef void host_net_range_fn(void *arg, uint32_t address, unsigned prefix);

struct host_net_ops {
    /* Can taps and rules be made? Returns 0, or -EPERM, -ENOENT, -errno with words that
     * say what is missing. */
    int (*check)(struct host_net *net, struct vmt_err *err);
    /* Call fn with the destination of every route, addresses of the host among them, but
     * without those of our own taps. */
    int (*ranges)(struct host_net *net, host_net_range_fn *fn, void *arg,
                  struct vmt_err *err);
    /* Make the VM's tap with its address, routes and rules. *ret_fd (owned by the caller)
     * is for the hypervisor: IFF_NO_PI, IFF_VNET_HDR. The tap stays when it is closed.
     * Fills in vm->tap. On failure nothing is left. */
    int (*add)(struct host_net *net, struct host_net_vm *vm, int *ret_fd,
               struct vmt_err *err);
    /* Undo add; what is gone already is fine. */
    int (*remove)(struct host_net *net, const struct host_net_vm *vm,
                  struct vmt_err *err);
    /* A tap that leads nowhere, for a hypervisor whose state others start from; it ends
     * with *ret_fd (owned by the caller), which is otherwise as that of add. */
    int (*spare)(struct host_net *net, int *ret_fd, struct vmt_err *err);
    /* These VMs, and no others, are there: remove taps and rules that an earlier process
     * left, and make the rules of these anew. */
    int (*adopt)(struct host_net *net, const struct host_net_vm *vms, size_t n,
                 struct vmt_err *err);
    /* Look whether somebody threw the rules away, as the reload of a firewall may do, and
     * make them anew then; let VMs out by interfaces that came since. Cheap as long as
     * nobody changes anything. Returns 1 when rules were gone, else 0, or -errno. */
    int (*refresh)(struct host_net *net, struct vmt_err *err);
    void (*free)(struct host_net *net);
};

struct host_net {
    const struct host_net_ops *ops;
};
