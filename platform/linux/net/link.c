/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/net/link.c - interfaces, addresses and routes by rtnetlink(7). */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/net/net_internal.h"

#define REQUEST_MAX 1024 /* ours are far below */

static struct nlmsghdr *
request(char *buf, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *m = mnl_nlmsg_put_header(buf);

    m->nlmsg_type = type;
    m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return m;
}

struct each_link {
    const char *label;
    link_fn *fn;
    void *arg;
};

static int
on_link_attr(const struct nlattr *a, void *arg)
{
    const char **texts = arg; /* name, alias */
    int type = mnl_attr_get_type(a);

    if ((type == IFLA_IFNAME || type == IFLA_IFALIAS) &&
        mnl_attr_validate(a, MNL_TYPE_NUL_STRING) == 0)
        texts[type == IFLA_IFALIAS] = mnl_attr_get_str(a);
    return MNL_CB_OK;
}

static int
on_link(const struct nlmsghdr *m, void *arg)
{
    const struct each_link *each = arg;
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);
    const char *texts[2] = {NULL, NULL};

    if (mnl_attr_parse(m, sizeof(*info), on_link_attr, (void *)texts) < 0)
        return MNL_CB_OK;
    if (texts[0] && texts[1] && strcmp(texts[1], each->label) == 0)
        each->fn(each->arg, info->ifi_index, texts[0]);
    return MNL_CB_OK;
}

int
link_each(const char *label, link_fn *fn, void *arg, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct nlmsghdr *m = request(buf, RTM_GETLINK, NLM_F_DUMP);
    struct each_link each = {label, fn, arg};
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(m, sizeof(*info));
    int r;

    info->ifi_family = AF_UNSPEC;
    r = netlink_talk(NETLINK_ROUTE, m, on_link, &each);
    return r < 0 ? vmt_err_set(err, -r, "list the network interfaces") : 0;
}

static struct nlmsghdr *
link_request(char *buf, uint16_t type, int index, struct ifinfomsg **ret_info)
{
    struct nlmsghdr *m = request(buf, type, NLM_F_ACK);

    *ret_info = mnl_nlmsg_put_extra_header(m, sizeof(**ret_info));
    (*ret_info)->ifi_family = AF_UNSPEC;
    (*ret_info)->ifi_index = index;
    return m;
}

int
link_set_alias(int index, const char *alias, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct ifinfomsg *info;
    struct nlmsghdr *m = link_request(buf, RTM_SETLINK, index, &info);
    int r;

    mnl_attr_put_str(m, IFLA_IFALIAS, alias);
    r = netlink_talk(NETLINK_ROUTE, m, NULL, NULL);
    return r < 0 ? vmt_err_set(err, -r, "mark the tap as ours") : 0;
}

int
link_set_up(int index, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct ifinfomsg *info;
    struct nlmsghdr *m = link_request(buf, RTM_SETLINK, index, &info);
    int r;

    info->ifi_flags = IFF_UP;
    info->ifi_change = IFF_UP;
    r = netlink_talk(NETLINK_ROUTE, m, NULL, NULL);
    return r < 0 ? vmt_err_set(err, -r, "switch the tap on") : 0;
}

/* The same setting as net.ipv4.conf.<interface>.forwarding. Source: Linux,
 * net/ipv4/devinet.c, inet_set_link_af. */
int
link_set_forwarding(int index, bool on, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct ifinfomsg *info;
    struct nlmsghdr *m = link_request(buf, RTM_SETLINK, index, &info);
    struct nlattr *spec = mnl_attr_nest_start(m, IFLA_AF_SPEC);
    struct nlattr *inet = mnl_attr_nest_start(m, AF_INET);
    struct nlattr *conf = mnl_attr_nest_start(m, IFLA_INET_CONF);
    int r;

    mnl_attr_put_u32(m, IPV4_DEVCONF_FORWARDING, on);
    mnl_attr_nest_end(m, conf);
    mnl_attr_nest_end(m, inet);
    mnl_attr_nest_end(m, spec);
    r = netlink_talk(NETLINK_ROUTE, m, NULL, NULL);
    return r < 0 ? vmt_err_set(err, -r, "switch forwarding of an interface") : 0;
}

int
link_delete(int index, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct ifinfomsg *info;
    int r = netlink_talk(NETLINK_ROUTE, link_request(buf, RTM_DELLINK, index, &info),
                         NULL, NULL);

    if (r == -ENODEV)
        return 0;
    return r < 0 ? vmt_err_set(err, -r, "remove the tap") : 0;
}

int
address_add(int index, uint32_t address, unsigned prefix, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct nlmsghdr *m = request(buf, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(m, sizeof(*a));
    int r;

    a->ifa_family = AF_INET;
    a->ifa_prefixlen = (uint8_t)prefix;
    a->ifa_scope = RT_SCOPE_UNIVERSE;
    a->ifa_index = (uint32_t)index;
    mnl_attr_put_u32(m, IFA_LOCAL, htonl(address));
    mnl_attr_put_u32(m, IFA_ADDRESS, htonl(address));
    r = netlink_talk(NETLINK_ROUTE, m, NULL, NULL);
    return r < 0 ? vmt_err_set(err, -r, "give the tap its address") : 0;
}

struct each_address {
    address_fn *fn;
    void *arg;
};

static int
on_address(const struct nlmsghdr *m, void *arg)
{
    const struct each_address *each = arg;
    const struct ifaddrmsg *a = mnl_nlmsg_get_payload(m);

    if (mnl_nlmsg_get_payload_len(m) >= sizeof(*a) && a->ifa_family == AF_INET)
        each->fn(each->arg, (int)a->ifa_index);
    return MNL_CB_OK;
}

int
address_each(address_fn *fn, void *arg, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct nlmsghdr *m = request(buf, RTM_GETADDR, NLM_F_DUMP);
    struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(m, sizeof(*a));
    struct each_address each = {fn, arg};
    int r;

    a->ifa_family = AF_INET;
    r = netlink_talk(NETLINK_ROUTE, m, on_address, &each);
    return r < 0 ? vmt_err_set(err, -r, "list the addresses of this host") : 0;
}

int
route_add(int index, uint32_t address, unsigned prefix, uint32_t gateway,
          struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct nlmsghdr *m =
        request(buf, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    struct rtmsg *route = mnl_nlmsg_put_extra_header(m, sizeof(*route));
    int r;

    route->rtm_family = AF_INET;
    route->rtm_dst_len = (uint8_t)prefix;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_STATIC;
    route->rtm_scope = RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(m, RTA_DST, htonl(address));
    mnl_attr_put_u32(m, RTA_GATEWAY, htonl(gateway));
    mnl_attr_put_u32(m, RTA_OIF, (uint32_t)index);
    r = netlink_talk(NETLINK_ROUTE, m, NULL, NULL);
    return r < 0 ? vmt_err_set(err, -r, "route the containers of the VM") : 0;
}

struct each_route {
    route_fn *fn;
    void *arg;
};

static int
on_route_attr(const struct nlattr *a, void *arg)
{
    uint32_t *numbers = arg; /* destination, interface */
    int type = mnl_attr_get_type(a);

    if ((type == RTA_DST || type == RTA_OIF) && mnl_attr_validate(a, MNL_TYPE_U32) == 0)
        numbers[type == RTA_OIF] = mnl_attr_get_u32(a);
    return MNL_CB_OK;
}

static int
on_route(const struct nlmsghdr *m, void *arg)
{
    const struct each_route *each = arg;
    const struct rtmsg *route = mnl_nlmsg_get_payload(m);
    uint32_t numbers[2] = {0, 0};

    if (route->rtm_family == AF_INET &&
        mnl_attr_parse(m, sizeof(*route), on_route_attr, numbers) >= 0)
        each->fn(each->arg, (int)numbers[1], ntohl(numbers[0]), route->rtm_dst_len);
    return MNL_CB_OK;
}

int
route_each(route_fn *fn, void *arg, struct vmt_err *err)
{
    char buf[REQUEST_MAX] __attribute__((aligned(8)));
    struct nlmsghdr *m = request(buf, RTM_GETROUTE, NLM_F_DUMP);
    struct rtmsg *route = mnl_nlmsg_put_extra_header(m, sizeof(*route));
    struct each_route each = {fn, arg};
    int r;

    route->rtm_family = AF_INET;
    r = netlink_talk(NETLINK_ROUTE, m, on_route, &each);
    return r < 0 ? vmt_err_set(err, -r, "list the routes") : 0;
}
