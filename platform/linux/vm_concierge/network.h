/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_concierge/network.h - the options about the network of VMs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/vm/subnet.h"
#include "platform/linux/net/net.h"

struct vmt_err;

struct network_options {
    const char *mode; /* points into argv, or is literal */
    struct vm_range subnets, containers;
    struct linux_net_port ports[LINUX_NET_PORTS_MAX];
    size_t nports;
};

void network_options_init(struct network_options *options);
/* Values of --network, --subnet, --container-subnet and --offer-port. Each returns
 * whether value is good. */
bool network_set_mode(struct network_options *options, const char *value);
bool network_set_subnets(struct network_options *options, const char *value);
bool network_set_containers(struct network_options *options, const char *value);
bool network_add_port(struct network_options *options, const char *value);

/* The host's network for the daemon with this runtime directory (absolute). */
int network_make(const struct network_options *options, bool system_mode,
                 const char *runtime, struct host_net **ret_net, struct vmt_err *err);
