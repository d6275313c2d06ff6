/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/net/net.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/net/net_internal.h"

static struct linux_net *
self_of(struct host_net *net)
{
    return VMT_CONTAINER_OF(net, struct linux_net, base);
}

static int
check(struct host_net *net, struct vmt_err *err)
{
    char name[HOST_NET_NAME_MAX];
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = tap_open(name, &fd, err);

    return r < 0 ? r : rules_check(self_of(net), err);
}

/* --- ranges --- */

#define OWN_MAX 4096

struct ranges {
    host_net_range_fn *fn;
    void *arg;
    int *own; /* indexes of our taps */
    size_t nown;
};

static void
on_own(void *arg, int index, const char *name)
{
    struct ranges *ranges = arg;

    (void)name;
    if (ranges->nown < OWN_MAX)
        ranges->own[ranges->nown++] = index;
}

static void
on_route(void *arg, int index, uint32_t address, unsigned prefix)
{
    const struct ranges *ranges = arg;

    for (size_t i = 0; i < ranges->nown; i++)
        if (ranges->own[i] == index)
            return;
    ranges->fn(ranges->arg, address, prefix);
}

static int
ranges(struct host_net *net, host_net_range_fn *fn, void *arg, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) int *own = calloc(OWN_MAX, sizeof(*own));
    struct ranges all = {.fn = fn, .arg = arg, .own = own};
    int r;

    if (!own)
        return vmt_err_set(err, ENOMEM, "list the routes");
    r = link_each(self_of(net)->label, on_own, &all, err);
    return r < 0 ? r : route_each(on_route, &all, err);
}

/* --- one VM --- */

static int
remember(struct linux_net *self, const struct host_net_vm *vm, struct vmt_err *err)
{
    struct host_net_vm *vms =
        realloc(self->vms, (self->nvms + 1) * sizeof(*vms)); /* owned by self */

    if (!vms)
        return vmt_err_set(err, ENOMEM, "remember the tap");
    self->vms = vms;
    self->vms[self->nvms++] = *vm;
    return 0;
}

static void
forget(struct linux_net *self, const char *tap)
{
    for (size_t i = 0; i < self->nvms; i++)
        if (strcmp(self->vms[i].tap, tap) == 0) {
            self->vms[i] = self->vms[--self->nvms];
            return;
        }
}

/* Rules as of now; they are made again until that worked. */
static int
apply(struct linux_net *self, struct vmt_err *err)
{
    int r = rules_apply(self, err);

    self->stale = r < 0;
    return r;
}

/* The last VM takes everything with it. */
static int
settle(struct linux_net *self, struct vmt_err *err)
{
    if (self->nvms == 0)
        forward_close(self);
    return apply(self, err);
}

/* Rules first: the tap carries nothing, and no interface forwards, before they are there
 * and name it. Whoever comes after us finds by them what to take back. */
static int
connect_tap(struct linux_net *self, const struct host_net_vm *vm, int index,
            struct vmt_err *err)
{
    int r = forward_find(self, err);

    if (r == 0)
        r = apply(self, err);
    if (r == 0)
        r = forward_open(self, err);
    if (r == 0)
        r = link_set_forwarding(index, true, err);
    if (r == 0)
        r = address_add(index, vm->gateway, vm->prefix, err);
    if (r == 0)
        r = link_set_up(index, err);
    if (r == 0 && vm->container)
        r = route_add(index, vm->container, vm->container_prefix, vm->guest, err);
    return r;
}

/* Kept at the very end: until then the tap ends with its descriptor, whatever happens to
 * us. */
static int
add(struct host_net *net, struct host_net_vm *vm, int *ret_fd, struct vmt_err *err)
{
    struct linux_net *self = self_of(net);
    struct host_net_vm made = *vm;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int index, r = tap_open(made.tap, &fd, err);

    if (r < 0)
        return r;
    index = (int)if_nametoindex(made.tap);
    r = link_set_alias(index, self->label, err);
    if (r == 0)
        r = remember(self, &made, err);
    if (r < 0)
        return r;
    r = connect_tap(self, &made, index, err);
    if (r == 0)
        r = tap_keep(fd, err);
    if (r < 0) {
        forget(self, made.tap);
        (void)settle(self, NULL);
        return r;
    }
    *vm = made;
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

/* Without an address, not up, and not in the rules: what comes out of it goes nowhere. */
static int
spare(struct host_net *net, int *ret_fd, struct vmt_err *err)
{
    char name[HOST_NET_NAME_MAX];

    (void)net;
    return tap_open(name, ret_fd, err);
}

struct removal {
    const char *name; /* NULL: every one that no VM has */
    const struct linux_net *self;
    struct vmt_err *err;
    int result;
};

static bool
is_known(const struct linux_net *self, const char *name)
{
    for (size_t i = 0; i < self->nvms; i++)
        if (strcmp(self->vms[i].tap, name) == 0)
            return true;
    return false;
}

static void
on_removal(void *arg, int index, const char *name)
{
    struct removal *removal = arg;
    int r;

    if (removal->name ? strcmp(removal->name, name) != 0 : is_known(removal->self, name))
        return;
    if (!removal->name)
        vmt_log_notice("removing a tap of no VM tap=%s", name);
    r = link_delete(index, removal->err);
    if (r < 0 && removal->result == 0)
        removal->result = r;
}

/* Only what bears our label: another's interface may have got the name since. */
static int
remove_taps(struct linux_net *self, const char *name, struct vmt_err *err)
{
    struct removal removal = {.name = name, .self = self, .err = err};
    int r = link_each(self->label, on_removal, &removal, err);

    return r < 0 ? r : removal.result;
}

static int
remove_vm(struct host_net *net, const struct host_net_vm *vm, struct vmt_err *err)
{
    struct linux_net *self = self_of(net);
    int r = remove_taps(self, vm->tap, err), s;

    forget(self, vm->tap);
    s = settle(self, r < 0 ? NULL : err);
    return r < 0 ? r : s;
}

static int
refresh(struct host_net *net, struct vmt_err *err)
{
    struct linux_net *self = self_of(net);
    uint32_t generation = 0;
    int r = self->nvms ? forward_find(self, err) : 0;

    if (r < 0 || self->nvms == 0)
        return r;
    if (self->stale) {
        r = apply(self, err);
        return r < 0 ? r : forward_open(self, err);
    }
    r = rules_generation(&generation, err);
    if (r == 0)
        r = forward_open(self, err);
    if (r < 0 || generation == self->generation)
        return r;
    self->generation = generation;
    if (rules_present(self))
        return 0;
    r = apply(self, err);
    return r < 0 ? r : 1;
}

/* --- after a restart --- */

static int
adopt(struct host_net *net, const struct host_net_vm *vms, size_t n, struct vmt_err *err)
{
    struct linux_net *self = self_of(net);
    int r = 0, s;

    self->nvms = 0;
    rules_read_uplinks(self, &self->uplinks);
    for (size_t i = 0; i < n && r == 0; i++)
        r = remember(self, &vms[i], err);
    if (r < 0)
        return r;
    s = remove_taps(self, NULL, err);
    if (n > 0)
        r = forward_find(self, err);
    if (r == 0)
        r = settle(self, err);
    if (r == 0 && n > 0)
        r = forward_open(self, err);
    return r < 0 ? r : s;
}

static void
free_net(struct host_net *net)
{
    struct linux_net *self;

    if (!net)
        return;
    self = self_of(net);
    free(self->vms);
    free(self);
}

static const struct host_net_ops ops = {
    .check = check,
    .ranges = ranges,
    .add = add,
    .remove = remove_vm,
    .spare = spare,
    .adopt = adopt,
    .refresh = refresh,
    .free = free_net,
};

static bool
fits(const struct linux_net_config *config)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t len = strlen(config->table);

    return strlen(config->label) < LINUX_NET_LABEL_MAX && len > 0 &&
           len < LINUX_NET_TABLE_MAX && strspn(config->table, letters) == len &&
           config->nports <= LINUX_NET_PORTS_MAX;
}

int
linux_net_new(const struct linux_net_config *config, struct host_net **ret_net,
              struct vmt_err *err)
{
    struct linux_net *self;

    if (!fits(config))
        return vmt_err_setx(err, EINVAL, "names of the network's parts do not fit");
    self = calloc(1, sizeof(*self));
    if (!self)
        return vmt_err_set(err, ENOMEM, "look after the network");
    self->base.ops = &ops;
    memcpy(self->label, config->label, strlen(config->label) + 1);
    memcpy(self->table, config->table, strlen(config->table) + 1);
    if (config->nports)
        memcpy(self->ports, config->ports, config->nports * sizeof(self->ports[0]));
    self->nports = config->nports;
    /* A service file gives us CAP_NET_ADMIN in the ambient set, from which a hypervisor
     * would inherit it. Kernels without that set have nothing to clear. */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    *ret_net = &self->base;
    return 0;
}
