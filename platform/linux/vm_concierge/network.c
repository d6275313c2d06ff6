/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_concierge/network.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "core/vm/id.h"

/* The addresses of the original: spec/concierge.md 3. The last 64 are for containers. */
#define SUBNETS "100.115.92.0/24"
#define CONTAINERS "100.115.92.192/26"

/* 16,384 VMs; a search through more would take its time. */
#define POOL_PREFIX_MIN 16u

void
network_options_init(struct network_options *options)
{
    *options = (struct network_options){.mode = "auto"};
    (void)vm_range_parse(SUBNETS, &options->subnets);
    (void)vm_range_parse(CONTAINERS, &options->containers);
}

bool
network_set_mode(struct network_options *options, const char *value)
{
    static const char *const modes[] = {"auto", "user", "tap", "none"};

    options->mode = value;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(modes); i++)
        if (strcmp(modes[i], value) == 0)
            return true;
    return false;
}

static bool
set_pool(struct vm_range *pool, const char *value, unsigned prefix_max)
{
    return vm_range_parse(value, pool) == 0 && pool->prefix >= POOL_PREFIX_MIN &&
           pool->prefix <= prefix_max;
}

/* The first subnet goes to nobody, so there have to be two. */
bool
network_set_subnets(struct network_options *options, const char *value)
{
    return set_pool(&options->subnets, value, VM_SUBNET_PREFIX - 1);
}

bool
network_set_containers(struct network_options *options, const char *value)
{
    return set_pool(&options->containers, value, VM_CONTAINER_PREFIX);
}

/* "tcp:80" or "udp:53" */
bool
network_add_port(struct network_options *options, const char *value)
{
    bool udp = vmt_str_has_prefix(value, "udp:");
    uint64_t port;

    if (!udp && !vmt_str_has_prefix(value, "tcp:"))
        return false;
    if (vmt_parse_u64(value + 4, UINT16_MAX, &port) < 0 || port == 0 ||
        options->nports == VMT_ARRAY_SIZE(options->ports))
        return false;
    options->ports[options->nports++] = (struct linux_net_port){udp, (uint16_t)port};
    return true;
}

/* Two daemons of one host must not take each other's taps for left-overs. */
int
network_make(const struct network_options *options, bool system_mode, const char *runtime,
             struct host_net **ret_net, struct vmt_err *err)
{
    char label[LINUX_NET_LABEL_MAX], table[LINUX_NET_TABLE_MAX] = "vm_tools";
    uint64_t hash = vm_key_hash(runtime);
    const struct linux_net_config config = {.label = label,
                                            .table = table,
                                            .ports = options->ports,
                                            .nports = options->nports};

    (void)snprintf(label, sizeof(label), "vm_tools %016" PRIx64, hash);
    if (!system_mode)
        (void)snprintf(table, sizeof(table), "vm_tools_%08x", (unsigned)hash);
    return linux_net_new(&config, ret_net, err);
}
