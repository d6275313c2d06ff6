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

/* A request of ours: none has more than three attributes of six bytes. */
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
    int index;
    char name[NETLINK_NAME_MAX];
};

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
    found->index = link->ifi_index;
    memcpy(found->name, RTA_DATA(name), RTA_PAYLOAD(name));
}

int
netlink_find_ethernet(int fd, char name[NETLINK_NAME_MAX], struct vmt_err *err)
{
    struct found_link found = {0};
    struct request r;
    int status;

    request_init(&r, RTM_GETLINK, NLM_F_DUMP, sizeof(r.link));
    status = transact(fd, &r, on_link, &found);
    if (status < 0)
        return vmt_err_set(err, -status, "list network interfaces");
    if (!found.index)
        return vmt_err_setx(err, ENODEV, "this VM has no network interface");
    memcpy(name, found.name, NETLINK_NAME_MAX);
    return found.index;
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

#define STALE_MAX 16 /* further ones go with the next call */

/* Addresses of one interface that are not the wanted one. */
struct stale {
    int ifindex;
    uint32_t wanted;
    unsigned wanted_len;
    struct {
        uint32_t address;
        unsigned prefix_len;
    } list[STALE_MAX];
    size_t n;
};

static void
on_address(void *arg, struct nlmsghdr *head)
{
    struct stale *s = arg;
    const struct ifaddrmsg *msg = NLMSG_DATA(head);
    const struct rtattr *local;
    uint32_t address;

    if (head->nlmsg_type != RTM_NEWADDR || msg->ifa_family != AF_INET ||
        (int)msg->ifa_index != s->ifindex)
        return;
    local = find_attribute(IFA_RTA(msg), IFA_PAYLOAD(head), IFA_LOCAL);
    if (!local || RTA_PAYLOAD(local) != sizeof(address) || s->n == STALE_MAX)
        return;
    memcpy(&address, RTA_DATA(local), sizeof(address));
    if (address == s->wanted && msg->ifa_prefixlen == s->wanted_len)
        return;
    s->list[s->n].address = address;
    s->list[s->n++].prefix_len = msg->ifa_prefixlen;
}

static int
change_address(int fd, uint16_t type, int ifindex, uint32_t address, unsigned prefix_len)
{
    uint32_t host_bits = prefix_len == 32 ? 0 : htonl(UINT32_MAX >> prefix_len);
    struct request r;

    request_init(&r, type,
                 NLM_F_ACK | (type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0),
                 sizeof(r.address));
    r.address.ifa_family = AF_INET;
    r.address.ifa_prefixlen = (uint8_t)prefix_len;
    r.address.ifa_index = (uint32_t)ifindex;
    request_add_u32(&r, IFA_LOCAL, address);
    request_add_u32(&r, IFA_ADDRESS, address);
    if (type == RTM_NEWADDR && prefix_len < 31)
        request_add_u32(&r, IFA_BROADCAST, address | host_bits);
    return transact(fd, &r, NULL, NULL);
}

int
netlink_set_address(int fd, int ifindex, uint32_t address, unsigned prefix_len,
                    struct vmt_err *err)
{
    struct stale stale = {
        .ifindex = ifindex, .wanted = address, .wanted_len = prefix_len};
    struct request r;
    int status;

    request_init(&r, RTM_GETADDR, NLM_F_DUMP, sizeof(r.address));
    r.address.ifa_family = AF_INET;
    status = transact(fd, &r, on_address, &stale);
    if (status < 0)
        return vmt_err_set(err, -status, "list addresses");
    for (size_t i = 0; i < stale.n; i++)
        (void)change_address(fd, RTM_DELADDR, ifindex, stale.list[i].address,
                             stale.list[i].prefix_len);
    status = change_address(fd, RTM_NEWADDR, ifindex, address, prefix_len);
    return status < 0 ? vmt_err_set(err, -status, "set address") : 0;
}

int
netlink_set_gateway(int fd, int ifindex, uint32_t gateway, struct vmt_err *err)
{
    struct request r;
    int status;

    request_init(&r, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
                 sizeof(r.route));
    r.route.rtm_family = AF_INET;
    r.route.rtm_table = RT_TABLE_MAIN;
    r.route.rtm_protocol = RTPROT_BOOT;
    r.route.rtm_scope = RT_SCOPE_UNIVERSE;
    r.route.rtm_type = RTN_UNICAST;
    request_add_u32(&r, RTA_GATEWAY, gateway);
    request_add_u32(&r, RTA_OIF, (uint32_t)ifindex);
    status = transact(fd, &r, NULL, NULL);
    return status < 0 ? vmt_err_set(err, -status, "set default route") : 0;
}

int
netlink_loopback_up(struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = netlink_open(&fd, err);

    return r < 0 ? r : netlink_link_up(fd, LOOPBACK_INDEX, err);
}
