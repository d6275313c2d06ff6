/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/ipv4.h - is an IPv4 set-up sound? */
#pragma once

#include <stdint.h>

struct vmt_err;

/* Addresses as in struct in_addr: the bytes in memory are in network order. */
struct ipv4_setup {
    uint32_t address, netmask, gateway;
};

/* Check that the address is one of a host, the mask contiguous, and the gateway another
 * host of the same net. Returns the prefix length, 1 to 31, or -EINVAL. */
int ipv4_check(const struct ipv4_setup *setup, struct vmt_err *err);
