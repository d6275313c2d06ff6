/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/net/net.h - struct host_net on Linux: taps by /dev/net/tun, addresses
 * and routes by rtnetlink, rules by nftables. */
#pragma once

#include "core/adapter/host_net.h"

/* A port of the host that VMs may connect to. */
struct linux_net_port {
    bool udp;
    uint16_t port;
};

#define LINUX_NET_PORTS_MAX 32
#define LINUX_NET_LABEL_MAX 128
#define LINUX_NET_TABLE_MAX 32

struct linux_net_config {
    /* Tells our taps from those of others, also from those of another vm_concierge: it
     * stands in each tap's alias. Printable, less than LINUX_NET_LABEL_MAX bytes. */
    const char *label;
    /* Name of our nftables table: letters, digits and '_', less than
     * LINUX_NET_TABLE_MAX. */
    const char *table;
    const struct linux_net_port *ports; /* at most LINUX_NET_PORTS_MAX */
    size_t nports;
};

/* Everything is copied. Nothing is touched before the first call. Programs that this
 * process starts get no capability by inheritance from now on. Returns 0, -EINVAL,
 * -ENOMEM. */
int linux_net_new(const struct linux_net_config *config, struct host_net **ret_net,
                  struct vmt_err *err);
