/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/net.h - what the network calls need of the boot. */
#pragma once

#include "platform/guest/maitred/rpc/ipv6.h"

/* The IPv6 set-up that the host gave last, which is lost when IPv6 is turned off. */
struct net_kept {
    int ifindex; /* 0: none */
    struct ipv6_setup ipv6;
};

/* Images have /etc/resolv.conf as a link to the file in /run that SetResolvConfig writes;
 * where PID 1 finds something else, it puts the link there, since nobody else will. Reads
 * the root file system, so it is no part of a call. */
void net_link_resolv(void);
