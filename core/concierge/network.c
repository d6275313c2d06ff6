/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/network.c - how a VM is connected: by the hypervisor's own NAT, which
 * needs no rights; by a tap with routed subnets, which needs them; or not at all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/concierge/concierge_internal.h"
#include "core/vm/subnet.h"

/* What the hypervisor's own NAT gives its guest, see HYPERVISOR_NET_USER. */
static const struct network_ipv4 user_ipv4 = {
    .address = 0x0a00020f, /* 10.0.2.15 */
    .mask = 0xffffff00,
    .gateway = 0x0a000202,
};
#define USER_DNS "10.0.2.3"

/* How long VMs may be without their rules when somebody removes them. */
#define RULES_CHECK_MS 5000u

static const char *const mode_names[] = {
    [HYPERVISOR_NET_NONE] = "none",
    [HYPERVISOR_NET_USER] = "user",
    [HYPERVISOR_NET_TAP] = "tap",
};

const char *
network_name(enum hypervisor_net net)
{
    return mode_names[net];
}

enum hypervisor_net
network_by_name(const char *name)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(mode_names); i++)
        if (strcmp(mode_names[i], name) == 0)
            return (enum hypervisor_net)i;
    return HYPERVISOR_NET_NONE;
}

/* --- taps --- */

/* What the VMs that are there have, for the adapter. */
static size_t
list_taps(const struct concierge *c, struct host_net_vm *taps)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        const struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (!vm->network.host.tap[0])
            continue;
        if (taps)
            taps[n] = vm->network.host;
        n++;
    }
    return n;
}

static void watch_rules(struct concierge *c);

static void
on_timer(void *arg)
{
    struct concierge *c = arg;
    struct host_net *net = c->config.net;
    struct vmt_err err = {0};
    int r = net->ops->refresh(net, &err);

    c->connection.timer = NULL;
    if (r < 0)
        vmt_log_warning("the rules for taps of VMs cannot be checked: %s", err.msg);
    if (r > 0)
        vmt_log_notice("somebody removed the rules for taps of VMs; they are back");
    watch_rules(c);
}

/* The reload of a firewall often begins with an empty rule set, which would leave VMs
 * without NAT, and others without protection from them. */
static void
watch_rules(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    if (c->connection.timer || list_taps(c, NULL) == 0)
        return;
    if (clock->ops->timer_start(clock, RULES_CHECK_MS, on_timer, c,
                                &c->connection.timer) < 0)
        vmt_log_warning("no memory to look after the rules for taps of VMs");
}

void
network_stop(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    clock->ops->timer_cancel(clock, c->connection.timer);
    c->connection.timer = NULL;
}

static int
check(struct concierge *c, struct vmt_err *err)
{
    struct host_net *net = c->config.net;

    if (!net)
        return vmt_err_setx(err, ENOTSUP, "this daemon makes no taps");
    if (!(c->config.hypervisor->ops->caps & HYPERVISOR_CAP_TAP))
        return vmt_err_setx(err, ENOTSUP, "the hypervisor %s takes no tap",
                            c->config.hypervisor->ops->name);
    return net->ops->check(net, err);
}

static int
open_taps(struct concierge *c, struct vmt_err *err)
{
    struct host_net *net = c->config.net;
    VMT_CLEANUP(vmt_freep) struct host_net_vm *taps = NULL;
    size_t n = list_taps(c, NULL);
    int r;

    if (c->connection.open)
        return 0;
    r = check(c, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "VMs cannot have a tap here");
    taps = calloc(n + 1, sizeof(*taps));
    if (!taps)
        return vmt_err_set(err, ENOMEM, "take over the taps of VMs");
    r = net->ops->adopt(net, taps, list_taps(c, taps), err);
    if (r < 0)
        return vmt_err_wrap(err, r, "take over the taps of VMs");
    c->connection.open = true;
    watch_rules(c);
    return 0;
}

static enum hypervisor_net
without_taps(const struct concierge *c)
{
    return c->config.hypervisor->ops->caps & HYPERVISOR_CAP_USER_NET
               ? HYPERVISOR_NET_USER
               : HYPERVISOR_NET_NONE;
}

/* Only a choice that we made ourselves is changed when it does not work. */
void
network_start(struct concierge *c)
{
    const struct concierge_network *config = &c->config.network;
    const char *mode = config->mode ? config->mode : "auto";
    bool automatic = strcmp(mode, "auto") == 0;
    struct vmt_err err = {0};
    bool wanted = automatic ? config->prefer_tap : strcmp(mode, "tap") == 0;

    c->connection.by_default = automatic ? without_taps(c) : network_by_name(mode);
    if (!wanted && list_taps(c, NULL) == 0)
        return;
    if (open_taps(c, &err) < 0) {
        vmt_log_warning("%s%s", err.msg,
                        automatic ? "; VMs get the user network, unless they ask for a "
                                    "tap"
                                  : "");
        return;
    }
    if (wanted)
        c->connection.by_default = HYPERVISOR_NET_TAP;
}

int
network_choose(struct concierge *c, const char *wanted, enum hypervisor_net *ret_net,
               struct vmt_err *err)
{
    enum hypervisor_net net =
        *wanted ? network_by_name(wanted) : c->connection.by_default;
    int r;

    if (*wanted && strcmp(network_name(net), wanted) != 0)
        return vmt_err_setx(err, EINVAL, "network must be user, tap or none");
    if (net == HYPERVISOR_NET_USER && without_taps(c) != HYPERVISOR_NET_USER)
        return vmt_err_setx(err, ENOTSUP, "the hypervisor %s has no user network",
                            c->config.hypervisor->ops->name);
    r = net == HYPERVISOR_NET_TAP ? open_taps(c, err) : 0;
    if (r < 0)
        return r;
    *ret_net = net;
    return 0;
}

int
network_connect(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host_net *net = vm->c->config.net;
    int r;

    if (vm->plan.net != HYPERVISOR_NET_TAP)
        return 0;
    memcpy(vm->network.host.mac, vm->network.mac, VM_MAC_LEN);
    r = net->ops->add(net, &vm->network.host, &vm->network.tap_fd, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "connect the VM");
    watch_rules(vm->c);
    return 0;
}

int
network_spare(struct concierge *c, enum hypervisor_net net, int *ret_fd,
              struct vmt_err *err)
{
    int r;

    if (net != HYPERVISOR_NET_TAP)
        return 0;
    r = open_taps(c, err);
    return r < 0 ? r : c->config.net->ops->spare(c->config.net, ret_fd, err);
}

void
network_close_fd(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;

    if (vm->network.tap_fd > 0)
        host->files->close(host, vm->network.tap_fd);
    vm->network.tap_fd = -1;
}

void
network_disconnect(struct concierge_vm *vm)
{
    struct host_net *net = vm->c->config.net;
    struct vmt_err err = {0};

    network_close_fd(vm);
    if (!vm->network.host.tap[0])
        return;
    if (!net || net->ops->remove(net, &vm->network.host, &err) < 0)
        vmt_log_warning("tap not removed: %s tap=%s vm=%s",
                        net ? err.msg : "this daemon makes no taps", vm->network.host.tap,
                        vm->key);
    vm->network.host.tap[0] = '\0';
    if (list_taps(vm->c, NULL) == 0)
        network_stop(vm->c);
}

/* --- what a VM is told --- */

uint32_t
network_order(uint32_t address)
{
    const uint8_t bytes[4] = {(uint8_t)(address >> 24), (uint8_t)(address >> 16),
                              (uint8_t)(address >> 8), (uint8_t)address};
    uint32_t v;

    memcpy(&v, bytes, sizeof(v));
    return v;
}

bool
network_ipv4(const struct concierge_vm *vm, struct network_ipv4 *ret)
{
    const struct host_net_vm *host = &vm->network.host;

    if (vm->plan.net == HYPERVISOR_NET_NONE)
        return false;
    *ret = user_ipv4;
    if (vm->plan.net == HYPERVISOR_NET_TAP)
        *ret = (struct network_ipv4){.address = host->guest,
                                     .mask = vm_range_mask(host->prefix),
                                     .gateway = host->gateway};
    return ret->address != 0;
}

/* A name server on the host's loopback is out of a guest's reach. */
static void
drop_local(struct host_dns *dns)
{
    size_t n = 0;

    for (size_t i = 0; i < dns->nservers; i++)
        if (!vmt_str_has_prefix(dns->servers[i], "127.") &&
            strcmp(dns->servers[i], "::1") != 0)
            memmove(dns->servers[n++], dns->servers[i], HOST_DNS_TEXT_MAX);
    dns->nservers = n;
}

void
network_dns(const struct concierge_vm *vm, struct host_dns *ret_dns)
{
    /* The hypervisor's own server asks the host's; names are completed like the host's.
     */
    *ret_dns = vm->c->follow.dns;
    if (vm->plan.net == HYPERVISOR_NET_TAP)
        drop_local(ret_dns);
    if (vm->plan.net != HYPERVISOR_NET_USER)
        return;
    ret_dns->nservers = 1;
    (void)snprintf(ret_dns->servers[0], HOST_DNS_TEXT_MAX, "%s", USER_DNS);
}

void
network_info(const struct concierge_vm *vm, VmTools__Concierge__VmInfo *info)
{
    struct network_ipv4 ipv4;

    if (network_ipv4(vm, &ipv4))
        info->ipv4_address = network_order(ipv4.address);
    info->mac_address = (char *)(uintptr_t)vm->network.mac_text; /* packing only reads */
    info->network = (char *)(uintptr_t)network_name(vm->plan.net);
}
