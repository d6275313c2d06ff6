/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/net/net_internal.h - shared by the files of this room. */
#pragma once

#include <stdbool.h>

#include "platform/linux/net/net.h"

struct nlmsghdr;
struct vmt_buf;

#define TAP_TEMPLATE "vmtap%d"

/* Interfaces whose forwarding we switched on, or are about to. */
#define UPLINKS_MAX 32

struct uplinks {
    char name[UPLINKS_MAX][HOST_NET_NAME_MAX];
    size_t n;
};

struct linux_net {
    struct host_net base;
    char label[LINUX_NET_LABEL_MAX];
    char table[LINUX_NET_TABLE_MAX];
    struct linux_net_port ports[LINUX_NET_PORTS_MAX];
    size_t nports;
    struct host_net_vm *vms; /* owned: those that have rules */
    size_t nvms;
    struct uplinks uplinks;
    bool stale;          /* the rules are not those that they have to be */
    uint32_t generation; /* of nftables, when our rules were seen last */
};

/* --- netlink.c --- */
/* Send a request to a family of netlink, and call fn (of the shape that mnl_cb_run takes,
 * NULL: none) with each message that answers it. Returns 0 or the kernel's -errno. */
typedef int netlink_fn(const struct nlmsghdr *message, void *arg);
int netlink_talk(int family, struct nlmsghdr *message, netlink_fn *fn, void *arg);

/* --- link.c: rtnetlink --- */
/* Call fn with index and name of every interface whose alias is label. */
typedef void link_fn(void *arg, int index, const char *name);
int link_each(const char *label, link_fn *fn, void *arg, struct vmt_err *err);
int link_set_alias(int index, const char *alias, struct vmt_err *err);
int link_set_up(int index, struct vmt_err *err);
/* Forward what comes in by this interface, or do not. */
int link_set_forwarding(int index, bool on, struct vmt_err *err);
/* A missing one is success. */
int link_delete(int index, struct vmt_err *err);
int address_add(int index, uint32_t address, unsigned prefix, struct vmt_err *err);
/* Call fn with the interface of every IPv4 address. */
typedef void address_fn(void *arg, int index);
int address_each(address_fn *fn, void *arg, struct vmt_err *err);
/* The range is reached by gateway, which is behind the interface. */
int route_add(int index, uint32_t address, unsigned prefix, uint32_t gateway,
              struct vmt_err *err);
/* Call fn with every IPv4 route of every table; index is 0 when it names no interface. */
typedef void route_fn(void *arg, int index, uint32_t address, unsigned prefix);
int route_each(route_fn *fn, void *arg, struct vmt_err *err);

/* --- rules.c: nftables --- */
/* The text that makes all rules of self anew, in one step. Returns 0 or -ENOMEM. */
int rules_text(const struct linux_net *self, struct vmt_buf *text);
/* Make the rules what self says; without VMs the table is removed. */
int rules_apply(const struct linux_net *self, struct vmt_err *err);
/* A number that changes with every change of nftables by anybody. */
int rules_generation(uint32_t *ret_generation, struct vmt_err *err);
/* Is our table there? */
bool rules_present(const struct linux_net *self);
/* May we, and can this kernel? Makes and removes a table of another name. */
int rules_check(const struct linux_net *self, struct vmt_err *err);
/* The uplinks that the table of an earlier process names. */
void rules_read_uplinks(const struct linux_net *self, struct uplinks *ret);

/* --- forward.c: which interfaces forward --- */
/* Note the interfaces that have an address and do not forward: what comes back for our
 * VMs comes in by them. Sets stale when the rules have to name others than before. */
int forward_find(struct linux_net *self, struct vmt_err *err);
/* Let those forward; the rules name them already. */
int forward_open(struct linux_net *self, struct vmt_err *err);
/* Give back what forward_open changed. */
void forward_close(struct linux_net *self);

/* --- tap.c --- */
/* A tap that ends with *ret_fd, and its name. */
int tap_open(char name[HOST_NET_NAME_MAX], int *ret_fd, struct vmt_err *err);
/* Let it outlive the descriptor. */
int tap_keep(int fd, struct vmt_err *err);
