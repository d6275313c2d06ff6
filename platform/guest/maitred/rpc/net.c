/* SPDX-License-Identifier: BSD-3-Clause */
/* ConfigureNetwork, SetResolvConfig, OnHostNetworkChanged. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/ipv4.h"
#include "platform/guest/maitred/rpc/net.h"
#include "platform/guest/maitred/rpc/netlink.h"
#include "platform/guest/maitred/rpc/resolv.h"
#include "platform/linux/os/paths.h"

#define RESOLV_FILE "/run/resolv.conf"
#define RESOLV_LINK "/etc/resolv.conf"
#define RESOLV_LINK_TMP "/etc/.resolv.conf.maitred"

/* -EINVAL is the caller's fault, the rest is ours. */
static void
fail(struct rpc_server_call *call, int r, const struct vmt_err *err)
{
    rpc_server_call_fail(call, r == -EINVAL ? RPC_INVALID_ARGUMENT : RPC_INTERNAL, "%s",
                         vmt_err_text(err));
}

void
net_link_resolv(void)
{
    char now[64];
    ssize_t n = readlink(RESOLV_LINK, now, sizeof(now) - 1);

    if (n > 0) {
        now[n] = '\0';
        if (strcmp(now, RESOLV_FILE) == 0 || strcmp(now, ".." RESOLV_FILE) == 0)
            return;
    }
    (void)unlink(RESOLV_LINK_TMP);
    if (symlink(RESOLV_FILE, RESOLV_LINK_TMP) < 0 ||
        rename(RESOLV_LINK_TMP, RESOLV_LINK) < 0)
        vmt_log_warning("link " RESOLV_LINK ": %s", strerror(errno));
}

static int
write_resolv(const VmTools__ResolvConfig *config, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf text = {0};
    int r = resolv_format(config->nameservers, config->n_nameservers,
                          config->search_domains, config->n_search_domains, &text, err);

    if (r < 0)
        return r;
    r = os_write_file_atomic(RESOLV_FILE, text.data, text.len, 0644, err);
    if (r == -EINVAL) /* not the caller's fault */
        r = -EIO;
    return r;
}

void
handle_set_resolv_config(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    const VmTools__SetResolvConfigRequest *req =
        (const VmTools__SetResolvConfigRequest *)request;
    const VmTools__ResolvConfig none = VM_TOOLS__RESOLV_CONFIG__INIT;
    struct vmt_err err;
    int r = write_resolv(req->resolv_config ? req->resolv_config : &none, &err);

    (void)ctx;
    if (r < 0)
        fail(call, r, &err);
    else
        rpc_reply_empty(call);
}

/* Router advertisements are taken also when the guest forwards for containers later on. A
 * kernel without IPv6 has no such file, and that is fine. */
static void
accept_router_advertisements(const char *name)
{
    char path[80];

    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
    (void)file_write(path, "2");
}

/* The driver may be among the modules that are still to come. */
static int
find_interface(struct agent *agent, int fd, char name[NETLINK_NAME_MAX],
               struct vmt_err *err)
{
    int ifindex = netlink_find_ethernet(fd, name, err);

    while (ifindex == -ENODEV && modules_left(&agent->boot.modules)) {
        modules_load_next(&agent->boot.modules, &agent->boot.report);
        ifindex = netlink_find_ethernet(fd, name, err);
    }
    return ifindex;
}

static int
configure(struct agent *agent, const VmTools__IPv4Config *config, struct vmt_err *err)
{
    const struct ipv4_setup setup = {config->address, config->netmask, config->gateway};
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char name[NETLINK_NAME_MAX];
    int prefix_len = ipv4_check(&setup, err), ifindex, r;

    if (prefix_len < 0)
        return prefix_len;
    r = netlink_open(&fd, err);
    if (r < 0)
        return r;
    ifindex = find_interface(agent, fd, name, err);
    if (ifindex < 0)
        return ifindex;
    accept_router_advertisements(name);
    r = netlink_link_up(fd, ifindex, err);
    if (r == 0)
        r = netlink_set_address(fd, ifindex, setup.address, (unsigned)prefix_len, err);
    if (r == 0) /* wants a link that is up and an address on its net */
        r = netlink_set_gateway(fd, ifindex, setup.gateway, err);
    return r == -EINVAL ? -EIO : r;
}

void
handle_configure_network(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    const VmTools__NetworkConfigRequest *req =
        (const VmTools__NetworkConfigRequest *)request;
    struct vmt_err err;
    int r;

    if (!req->ipv4_config) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "no ipv4_config");
        return;
    }
    r = configure(ctx, req->ipv4_config, &err);
    if (r == 0 && req->resolv_config)
        r = write_resolv(req->resolv_config, &err);
    if (r < 0)
        fail(call, r, &err);
    else
        rpc_reply_empty(call);
}

/* dnsmasq forgets what it cached when it gets SIGHUP. */
static void
tell_dnsmasq(void)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        VMT_CLEANUP(vmt_freep) char *comm = NULL;
        char path[300];

        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
        if (file_read(path, 64, &comm) > 0 && strcmp(comm, "dnsmasq\n") == 0)
            (void)kill((pid_t)strtol(entry->d_name, NULL, 10), SIGHUP);
    }
    (void)closedir(dir);
}

/* The addresses that routers gave belong to the old network: off and on again drops them
 * and asks anew. */
void
handle_on_host_network_changed(void *ctx, struct rpc_server_call *call,
                               const ProtobufCMessage *request)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char name[NETLINK_NAME_MAX], path[80];
    struct vmt_err err;
    int r = netlink_open(&fd, &err);

    (void)request;
    if (r == 0)
        r = find_interface(ctx, fd, name, &err);
    if (r < 0) {
        fail(call, r, &err);
        return;
    }
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    r = file_write(path, "1");
    if (r == 0)
        r = file_write(path, "0");
    if (r < 0 && r != -ENOENT) {
        rpc_server_call_fail(call, RPC_INTERNAL, "%s: %s", path, strerror(-r));
        return;
    }
    tell_dnsmasq();
    rpc_reply_empty(call);
}
