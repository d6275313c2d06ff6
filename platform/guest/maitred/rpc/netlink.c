/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

#define REPLY_MAX 16384 /* the kernel fills at most 16 KiB at a time into a dump */
#define LOOPBACK_INDEX 1

#define GATEWAY6_PRIORITY 512 /* routes that routers gave have 1024 */

/* A request of ours: none has more attributes than two addresses and a number. */
struct request {
    struct nlmsghdr head;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
    };
    uint8_t attributes[64];
};

/* Called for each message of an answer. */
typedef void message_fn(void *arg, struct nlmsghdr *head);

static void
request_init(struct request *r, uint16_t type, uint16_t flags, size_t body)
{
    *r = (struct request){0};
    r->head.nlmsg_type = type;
    r->head.nlmsg_flags = NLM_F_REQUEST | flags;
    r->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
}

static void
request_add(struct request *r, uint16_t type, const void *value, size_t len)
{
    struct rtattr *a =
        (struct rtattr *)(void *)((uint8_t *)r + NLMSG_ALIGN(r->head.nlmsg_len));

    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), value, len);
    r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + (uint32_t)RTA_LENGTH(len);
}

static void
request_add_u32(struct request *r, uint16_t type, uint32_t value)
{
    request_add(r, type, &value, sizeof(value));
}

/* Take the messages of one datagram. Returns 1 at the end of the answer, 0 when more
 * comes, or the kernel's negative errno. */
static int
take_messages(void *buf, size_t len, message_fn *fn, void *arg)
{
    for (struct nlmsghdr *h = buf; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
        if (h->nlmsg_type == NLMSG_DONE)
            return 1;
        if (h->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *e = NLMSG_DATA(h);

            return e->error ? e->error : 1;
        }
        if (fn)
            fn(arg, h);
    }
    return 0;
}

/* Send, and read the answer: an acknowledgement or a dump. */
static int
transact(int fd, struct request *r, message_fn *fn, void *arg)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    union {
        uint8_t bytes[REPLY_MAX];
        struct nlmsghdr align;
    } reply;
    int status = 0;

    if (sendto(fd, r, r->head.nlmsg_len, 0, (const struct sockaddr *)&kernel,
               sizeof(kernel)) < 0)
        return -errno;
    while (status == 0) {
        ssize_t n = recv(fd, reply.bytes, sizeof(reply.bytes), MSG_DONTWAIT);

        if (n < 0)
            return -errno;
        status = take_messages(reply.bytes, (size_t)n, fn, arg);
    }
    return status < 0 ? status : 0;
}

int
netlink_open(int *ret_fd, struct vmt_err *err)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        return vmt_err_set(err, errno, "open routing socket");
    *ret_fd = fd;
    return 0;
}

/* First attribute of the type, or NULL. */
static const struct rtattr *
find_attribute(const struct rtattr *a, size_t len, unsigned type)
{
    for (; RTA_OK(a, len); a = RTA_NEXT(a, len)) {
        if (a->rta_type == type)
            return a;
    }
    return NULL;
}

struct found_link {
    const uint8_t *mac; /* borrowed: only this one; NULL: any */
    int index;
    char name[NETLINK_NAME_MAX];
};

static bool
has_mac(const struct ifinfomsg *link, size_t len, const uint8_t *mac)
{
    const struct rtattr *a = find_attribute(IFLA_RTA(link), len, IFLA_ADDRESS);

    return a && RTA_PAYLOAD(a) == NETLINK_MAC_LEN &&
           memcmp(RTA_DATA(a), mac, NETLINK_MAC_LEN) == 0;
}

static void
on_link(void *arg, struct nlmsghdr *head)
{
    struct found_link *found = arg;
    const struct ifinfomsg *link = NLMSG_DATA(head);
    const struct rtattr *name;

    if (head->nlmsg_type != RTM_NEWLINK || link->ifi_type != ARPHRD_ETHER)
        return;
    name = find_attribute(IFLA_RTA(link), IFLA_PAYLOAD(head), IFLA_IFNAME);
    if (!name || RTA_PAYLOAD(name) > NETLINK_NAME_MAX)
        return;
    if (found->index && strcmp(RTA_DATA(name), "eth0") != 0)
        return;
    if (found->mac && !has_mac(link, IFLA_PAYLOAD(head), found->mac))
        return;
    found->index = link->ifi_index;
    memcpy(found->name, RTA_DATA(name), RTA_PAYLOAD(name));
}

static int
find_link(int fd, const uint8_t *mac, char name[NETLINK_NAME_MAX], struct vmt_err *err)
{
    struct found_link found = {.mac = mac};
    struct request r;
    int status;

    request_init(&r, RTM_GETLINK, NLM_F_DUMP, sizeof(r.link));
    status = transact(fd, &r, on_link, &found);
    if (status < 0)
        return vmt_err_set(err, -status, "list network interfaces");
    if (!found.index)
        return vmt_err_setx(err, ENODEV, "this VM has no network interface%s",
                            mac ? " with that hardware address" : "");
    memcpy(name, found.name, NETLINK_NAME_MAX);
    return found.index;
}

int
netlink_find_ethernet(int fd, char name[NETLINK_NAME_MAX], struct vmt_err *err)
{
    return find_link(fd, NULL, name, err);
}

int
netlink_find_mac(int fd, const uint8_t mac[NETLINK_MAC_LEN], char name[NETLINK_NAME_MAX],
                 struct vmt_err *err)
{
    return find_link(fd, mac, name, err);
}

int
netlink_link_up(int fd, int ifindex, struct vmt_err *err)
{
    struct request r;
    int status;

    request_init(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(r.link));
    r.link.ifi_index = ifindex;
    r.link.ifi_flags = IFF_UP;
    r.link.ifi_change = IFF_UP;
    status = transact(fd, &r, NULL, NULL);
    return status < 0 ? vmt_err_set(err, -status, "bring interface %d up", ifindex) : 0;
}

int
netlink_set_mac(int fd, int ifindex, const uint8_t mac[NETLINK_MAC_LEN],
                struct vmt_err *err)
{
    struct request r;
    int status;

    request_init(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(r.link));
    r.link.ifi_index = ifindex;
    request_add(&r, IFLA_ADDRESS, mac, NETLINK_MAC_LEN);
    status = transact(fd, &r, NULL, NULL);
    return status < 0
               ? vmt_err_set(err, -status, "set the address of interface %d", ifindex)
               : 0;
}

int
netlink_set_mtu(int fd, int ifindex, uint32_t mtu, struct vmt_err *err)
{
    struct request r;
    int status;

    request_init(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(r.link));
    r.link.ifi_index = ifindex;
    request_add_u32(&r, IFLA_MTU, mtu);
    status = transact(fd, &r, NULL, NULL);
    return status < 0 ? vmt_err_set(err, -status, "set the MTU of interface %d to %u",
                                    ifindex, mtu)
                      : 0;
}

#define STALE_MAX 16 /* further ones go with the next call */

/* An address of one of the two families, network order. */
struct inet_address {
    uint8_t family, len; /* AF_INET and 4, AF_INET6 and 16 */
    uint8_t prefix_len;
    uint8_t bytes[NETLINK_IPV6_LEN];
};

static struct inet_address
make_address(uint8_t family, const void *bytes, unsigned prefix_len)
{
    struct inet_address a = {.family = family,
                             .len = family == AF_INET ? 4 : NETLINK_IPV6_LEN,
                             .prefix_len = (uint8_t)prefix_len};

    memcpy(a.bytes, bytes, a.len);
    return a;
}

/* Addresses of one interface that are not the wanted one. */
struct stale {
    int ifindex;
    struct inet_address wanted;
    struct inet_address list[STALE_MAX];
    size_t n;
};

/* Those that routers gave have a lifetime, and the link's own are in its scope. */
static bool
is_set_by_hand(const struct ifaddrmsg *msg)
{
    return msg->ifa_family == AF_INET ||
           (msg->ifa_flags & IFA_F_PERMANENT && msg->ifa_scope == RT_SCOPE_UNIVERSE);
}

static void
on_address(void *arg, struct nlmsghdr *head)
{
    struct stale *s = arg;
    const struct ifaddrmsg *msg = NLMSG_DATA(head);
    const struct rtattr *own;
    struct inet_address found;

    if (head->nlmsg_type != RTM_NEWADDR || msg->ifa_family != s->wanted.family ||
        (int)msg->ifa_index != s->ifindex || !is_set_by_hand(msg))
        return;
    own = find_attribute(IFA_RTA(msg), IFA_PAYLOAD(head),
                         msg->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS);
    if (!own || RTA_PAYLOAD(own) != s->wanted.len || s->n == STALE_MAX)
        return;
    found = make_address(msg->ifa_family, RTA_DATA(own), msg->ifa_prefixlen);
    if (memcmp(&found, &s->wanted, sizeof(found)) != 0)
        s->list[s->n++] = found;
}

static void
add_broadcast(struct request *r, const struct inet_address *a)
{
    uint32_t address;

    memcpy(&address, a->bytes, sizeof(address));
    request_add_u32(r, IFA_BROADCAST, address | htonl(UINT32_MAX >> a->prefix_len));
}

static int
change_address(int fd, uint16_t type, int ifindex, const struct inet_address *a)
{
    struct request r;

    request_init(&r, type,
                 NLM_F_ACK | (type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0),
                 sizeof(r.address));
    r.address.ifa_family = a->family;
    r.address.ifa_prefixlen = a->prefix_len;
    r.address.ifa_index = (uint32_t)ifindex;
    if (a->family == AF_INET6)
        r.address.ifa_flags = IFA_F_NODAD;
    request_add(&r, IFA_LOCAL, a->bytes, a->len);
    request_add(&r, IFA_ADDRESS, a->bytes, a->len);
    if (type == RTM_NEWADDR && a->family == AF_INET && a->prefix_len < 31)
        add_broadcast(&r, a);
    return transact(fd, &r, NULL, NULL);
}

static int
set_address(int fd, int ifindex, const struct inet_address *wanted, struct vmt_err *err)
{
    struct stale stale = {.ifindex = ifindex, .wanted = *wanted};
    struct request r;
    int status;

    request_init(&r, RTM_GETADDR, NLM_F_DUMP, sizeof(r.address));
    r.address.ifa_family = wanted->family;
    status = transact(fd, &r, on_address, &stale);
    if (status < 0)
        return vmt_err_set(err, -status, "list addresses");
    for (size_t i = 0; i < stale.n; i++)
        (void)change_address(fd, RTM_DELADDR, ifindex, &stale.list[i]);
    status = change_address(fd, RTM_NEWADDR, ifindex, wanted);
    return status < 0 ? vmt_err_set(err, -status, "set address") : 0;
}

int
netlink_set_address(int fd, int ifindex, uint32_t address, unsigned prefix_len,
                    struct vmt_err *err)
{
    const struct inet_address a = make_address(AF_INET, &address, prefix_len);

    return set_address(fd, ifindex, &a, err);
}

int
netlink_set_address6(int fd, int ifindex, const uint8_t address[NETLINK_IPV6_LEN],
                     unsigned prefix_len, struct vmt_err *err)
{
    const struct inet_address a = make_address(AF_INET6, address, prefix_len);

    return set_address(fd, ifindex, &a, err);
}

/* priority 0: the kernel's own. */
static int
set_gateway(int fd, int ifindex, const struct inet_address *gateway, uint32_t priority,
            struct vmt_err *err)
{
    struct request r;
    int status;

    request_init(&r, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
                 sizeof(r.route));
    r.route.rtm_family = gateway->family;
    r.route.rtm_table = RT_TABLE_MAIN;
    r.route.rtm_protocol = RTPROT_BOOT;
    r.route.rtm_scope = RT_SCOPE_UNIVERSE;
    r.route.rtm_type = RTN_UNICAST;
    request_add(&r, RTA_GATEWAY, gateway->bytes, gateway->len);
    request_add_u32(&r, RTA_OIF, (uint32_t)ifindex);
    if (priority)
        request_add_u32(&r, RTA_PRIORITY, priority);
    status = transact(fd, &r, NULL, NULL);
    return status < 0 ? vmt_err_set(err, -status, "set default route") : 0;
}

int
netlink_set_gateway(int fd, int ifindex, uint32_t gateway, struct vmt_err *err)
{
    const struct inet_address a = make_address(AF_INET, &gateway, 0);

    return set_gateway(fd, ifindex, &a, 0, err);
}

int
netlink_set_gateway6(int fd, int ifindex, const uint8_t gateway[NETLINK_IPV6_LEN],
                     struct vmt_err *err)
{
    const struct inet_address a = make_address(AF_INET6, gateway, 0);

    return set_gateway(fd, ifindex, &a, GATEWAY6_PRIORITY, err);
}

int
netlink_loopback_up(struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = netlink_open(&fd, err);

    return r < 0 ? r : netlink_link_up(fd, LOOPBACK_INDEX, err);
}
