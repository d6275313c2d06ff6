/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/netlink.h - addresses and routes by rtnetlink(7). The kernel
 * answers within the system call, so nothing here waits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vmt_err;

#define NETLINK_NAME_MAX 16 /* IFNAMSIZ */
#define NETLINK_MAC_LEN 6
#define NETLINK_IPV6_LEN 16

/* A routing socket, close-on-exec. */
int netlink_open(int *ret_fd, struct vmt_err *err);

/* Index of eth0; without one, of the first Ethernet interface. name gets its name.
 * Returns -ENODEV when there is none. */
int netlink_find_ethernet(int fd, char name[NETLINK_NAME_MAX], struct vmt_err *err);

/* Index of the Ethernet interface with this hardware address, else as above. */
int netlink_find_mac(int fd, const uint8_t mac[NETLINK_MAC_LEN],
                     char name[NETLINK_NAME_MAX], struct vmt_err *err);

/* Bring an interface up. */
int netlink_link_up(int fd, int ifindex, struct vmt_err *err);

/* Give the interface another hardware address, up or down. */
int netlink_set_mac(int fd, int ifindex, const uint8_t mac[NETLINK_MAC_LEN],
                    struct vmt_err *err);

/* Bytes of a packet that the interface takes. */
int netlink_set_mtu(int fd, int ifindex, uint32_t mtu, struct vmt_err *err);

/* Make address (network order) the only IPv4 address of the interface. */
int netlink_set_address(int fd, int ifindex, uint32_t address, unsigned prefix_len,
                        struct vmt_err *err);

/* Make gateway (network order) the default route, in place of another one. */
int netlink_set_gateway(int fd, int ifindex, uint32_t gateway, struct vmt_err *err);

/* Make address the only IPv6 address of the interface that neither a router gave nor the
 * link has. It is used at once, without a search for others that have it: the host says
 * who has what. */
int netlink_set_address6(int fd, int ifindex, const uint8_t address[NETLINK_IPV6_LEN],
                         unsigned prefix_len, struct vmt_err *err);

/* Make gateway the default route for IPv6, which goes before those of routers. */
int netlink_set_gateway6(int fd, int ifindex, const uint8_t gateway[NETLINK_IPV6_LEN],
                         struct vmt_err *err);

/* lo up, for programs that talk to themselves before there is a network. */
int netlink_loopback_up(struct vmt_err *err);
