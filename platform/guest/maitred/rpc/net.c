/* SPDX-License-Identifier: BSD-3-Clause */
/* ConfigureNetwork, SetResolvConfig, OnHostNetworkChanged. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>
#include <vmt_net.pb-c.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/ipv4.h"
#include "platform/guest/maitred/rpc/ipv6.h"
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

static int
look_for_interface(int fd, const uint8_t *mac, char name[NETLINK_NAME_MAX],
                   struct vmt_err *err)
{
    return mac ? netlink_find_mac(fd, mac, name, err)
               : netlink_find_ethernet(fd, name, err);
}

/* The driver may be among the modules that are still to come. */
static int
find_interface(struct agent *agent, int fd, const uint8_t *mac,
               char name[NETLINK_NAME_MAX], struct vmt_err *err)
{
    int ifindex = look_for_interface(fd, mac, name, err);

    while (ifindex == -ENODEV && modules_left(&agent->boot.modules)) {
        modules_load_next(&agent->boot.modules, &agent->boot.report);
        ifindex = look_for_interface(fd, mac, name, err);
    }
    return ifindex;
}

/* What a ConfigureNetwork asks for, checked. */
struct net_setup {
    struct ipv4_setup ipv4;
    struct ipv6_setup ipv6;
    bool has_ipv4, has_ipv6;
    unsigned prefix_len; /* of ipv4 */
    uint32_t mtu;        /* 0: stays */
    const uint8_t *mac;  /* borrowed: of the interface; NULL: the first */
};

static int
read_ipv4(const VmTools__IPv4Config *config, struct net_setup *setup, struct vmt_err *err)
{
    int r;

    setup->ipv4 = (struct ipv4_setup){config->address, config->netmask, config->gateway};
    r = ipv4_check(&setup->ipv4, err);
    if (r < 0)
        return r;
    setup->prefix_len = (unsigned)r;
    setup->has_ipv4 = true;
    return 0;
}

static int
read_ipv6(const Vmt__IPv6Config *config, struct net_setup *setup, struct vmt_err *err)
{
    const struct ipv6_request request = {
        .address = config->address.data,
        .naddress = config->address.len,
        .prefix_len = config->prefix_len,
        .gateway = config->gateway.data,
        .ngateway = config->gateway.len,
    };

    setup->has_ipv6 = true;
    return ipv6_check(&request, &setup->ipv6, err);
}

static int
read_request(const VmTools__NetworkConfigRequest *req, struct net_setup *setup,
             struct vmt_err *err)
{
    int r = 0;

    *setup = (struct net_setup){.mtu = req->mtu};
    if (!req->ipv4_config && !req->ipv6_config)
        return vmt_err_setx(err, EINVAL, "no ipv4_config");
    if (req->mac_address.len != 0 && req->mac_address.len != NETLINK_MAC_LEN)
        return vmt_err_setx(err, EINVAL, "a hardware address has 6 bytes");
    if (req->mac_address.len)
        setup->mac = req->mac_address.data;
    if (req->ipv4_config)
        r = read_ipv4(req->ipv4_config, setup, err);
    if (r == 0 && req->ipv6_config)
        r = read_ipv6(req->ipv6_config, setup, err);
    return r < 0 ? r : ipv6_mtu_check(setup->mtu, setup->has_ipv6, err);
}

/* A gateway wants a link that is up and an address on its net. */
static int
apply_ipv4(int fd, int ifindex, const struct net_setup *setup, struct vmt_err *err)
{
    int r = netlink_set_address(fd, ifindex, setup->ipv4.address, setup->prefix_len, err);

    return r < 0 ? r : netlink_set_gateway(fd, ifindex, setup->ipv4.gateway, err);
}

static int
apply_ipv6(int fd, int ifindex, const struct ipv6_setup *ipv6, struct vmt_err *err)
{
    int r = netlink_set_address6(fd, ifindex, ipv6->address, ipv6->prefix_len, err);

    if (r == 0 && ipv6->has_gateway)
        r = netlink_set_gateway6(fd, ifindex, ipv6->gateway, err);
    return r < 0 ? vmt_err_wrap(err, r, "IPv6") : 0;
}

static int
configure(struct agent *agent, const struct net_setup *setup, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char name[NETLINK_NAME_MAX];
    int ifindex, r = netlink_open(&fd, err);

    if (r < 0)
        return r;
    ifindex = find_interface(agent, fd, setup->mac, name, err);
    if (ifindex < 0)
        return ifindex;
    accept_router_advertisements(name);
    if (setup->mtu)
        r = netlink_set_mtu(fd, ifindex, setup->mtu, err);
    if (r == 0)
        r = netlink_link_up(fd, ifindex, err);
    if (r == 0 && setup->has_ipv4)
        r = apply_ipv4(fd, ifindex, setup, err);
    if (r == 0 && setup->has_ipv6)
        r = apply_ipv6(fd, ifindex, &setup->ipv6, err);
    if (r == 0 && setup->has_ipv6)
        agent->net = (struct net_kept){.ifindex = ifindex, .ipv6 = setup->ipv6};
    return r == -EINVAL ? -EIO : r; /* what the caller said was sound */
}

void
handle_configure_network(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    const VmTools__NetworkConfigRequest *req =
        (const VmTools__NetworkConfigRequest *)request;
    struct net_setup setup;
    struct vmt_err err;
    int r = read_request(req, &setup, &err);

    if (r == 0)
        r = configure(ctx, &setup, &err);
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

/* IPv6 off and on again drops the addresses that routers gave, and asks anew. What the
 * host gave is dropped as well, and comes back. */
static int
renew_ipv6(struct agent *agent, int fd, int ifindex, const char *name,
           struct vmt_err *err)
{
    char path[80];
    int r;

    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    r = file_write(path, "1");
    if (r == 0)
        r = file_write(path, "0");
    if (r == -ENOENT) /* a kernel without IPv6 */
        return 0;
    if (r < 0)
        return vmt_err_set(err, -r, "%s", path);
    return agent->net.ifindex == ifindex ? apply_ipv6(fd, ifindex, &agent->net.ipv6, err)
                                         : 0;
}

/* Addresses of routers belong to the old network. */
void
handle_on_host_network_changed(void *ctx, struct rpc_server_call *call,
                               const ProtobufCMessage *request)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char name[NETLINK_NAME_MAX];
    struct vmt_err err;
    int ifindex = 0, r = netlink_open(&fd, &err);

    (void)request;
    if (r == 0)
        r = ifindex = find_interface(ctx, fd, NULL, name, &err);
    if (r >= 0)
        r = renew_ipv6(ctx, fd, ifindex, name, &err);
    if (r < 0) {
        rpc_server_call_fail(call, RPC_INTERNAL, "%s", vmt_err_text(&err));
        return;
    }
    tell_dnsmasq();
    rpc_reply_empty(call);
}
