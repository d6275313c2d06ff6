/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/net/forward.c - forwarding, for what has to do with VMs only.
 *
 * Linux asks the interface that a packet came in by. What a VM sends comes in by its tap;
 * what comes back, by any interface that leads somewhere. Where those did not forward
 * before, the rules let only answers to VMs through (rules.c), so that the host becomes
 * no router by that, and the last VM takes the change with it. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/net/net_internal.h"

#define CONF "/proc/sys/net/ipv4/conf/%s/forwarding"

static void
conf_path(char *path, size_t cap, const char *name)
{
    (void)snprintf(path, cap, CONF, name);
}

/* "all" says what the administrator wants of the whole host. */
static bool
forwards(const char *name)
{
    char path[64], value = '0';
    VMT_CLEANUP(vmt_closep) int fd = -1;

    conf_path(path, sizeof(path), name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &value, 1) == 1 && value != '0';
}

/* The file does more than the message: the kernel also switches off what does not go with
 * forwarding (large receive offload). It may be read-only for us. */
static int
set_forwarding(const char *name, bool on, struct vmt_err *err)
{
    char path[64];
    VMT_CLEANUP(vmt_closep) int fd = -1;
    unsigned index = if_nametoindex(name);

    if (!index)
        return 0; /* gone, and its setting with it */
    conf_path(path, sizeof(path), name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, on ? "1" : "0", 1) == 1)
        return 0;
    return link_set_forwarding((int)index, on, err);
}

struct scan {
    struct linux_net *self;
    struct vmt_err *err;
    int result;
};

static bool
is_ours(const struct linux_net *self, const char *name)
{
    for (size_t i = 0; i < self->nvms; i++)
        if (strcmp(self->vms[i].tap, name) == 0)
            return true;
    return strcmp(name, "lo") == 0;
}

static bool
is_listed(const struct uplinks *u, const char *name)
{
    for (size_t i = 0; i < u->n; i++)
        if (strcmp(u->name[i], name) == 0)
            return true;
    return false;
}

static void
on_address(void *arg, int index)
{
    struct scan *scan = arg;
    struct uplinks *u = &scan->self->uplinks;
    char name[IF_NAMESIZE];

    if (scan->result < 0 || !if_indextoname((unsigned)index, name) ||
        is_ours(scan->self, name) || is_listed(u, name) || forwards(name))
        return;
    if (u->n == UPLINKS_MAX) {
        scan->result = vmt_err_setx(scan->err, ENOSPC,
                                    "more than %d interfaces lead out of this host; "
                                    "switch net.ipv4.ip_forward on yourself",
                                    UPLINKS_MAX);
        return;
    }
    memcpy(u->name[u->n++], name, HOST_NET_NAME_MAX);
    scan->self->stale = true;
}

/* Interfaces that are gone took their setting with them; one that comes back under the
 * same name is found anew. */
static void
drop_gone(struct linux_net *self)
{
    struct uplinks *u = &self->uplinks;

    for (size_t i = 0; i < u->n;) {
        if (if_nametoindex(u->name[i])) {
            i++;
            continue;
        }
        u->n--;
        memmove(u->name[i], u->name[u->n], HOST_NET_NAME_MAX);
        self->stale = true;
    }
}

int
forward_find(struct linux_net *self, struct vmt_err *err)
{
    struct scan scan = {.self = self, .err = err};
    int r;

    drop_gone(self);
    if (self->uplinks.n > 0 && forwards("all")) {
        self->uplinks.n = 0; /* somebody else's wish since: not ours to take back */
        self->stale = true;
    }
    r = address_each(on_address, &scan, err);
    if (r == 0)
        r = scan.result;
    return r < 0 ? vmt_err_wrap(err, r, "find what leads out of this host") : 0;
}

int
forward_open(struct linux_net *self, struct vmt_err *err)
{
    int r = 0;

    for (size_t i = 0; i < self->uplinks.n && r == 0; i++)
        if (!forwards(self->uplinks.name[i]))
            r = set_forwarding(self->uplinks.name[i], true, err);
    return r < 0 ? vmt_err_wrap(err, r, "let answers come back to VMs") : 0;
}

void
forward_close(struct linux_net *self)
{
    struct vmt_err err = {0};

    for (size_t i = 0; i < self->uplinks.n && !forwards("all"); i++)
        if (set_forwarding(self->uplinks.name[i], false, &err) < 0)
            vmt_log_warning("an interface keeps forwarding: %s interface=%s", err.msg,
                            self->uplinks.name[i]);
    self->uplinks.n = 0;
}
