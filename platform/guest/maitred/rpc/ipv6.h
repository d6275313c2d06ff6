/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/ipv6.h - is an IPv6 set-up sound? And what an interface may
 * carry at once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

#define IPV6_LEN 16u

/* Addresses in network order. */
struct ipv6_setup {
    uint8_t address[IPV6_LEN], gateway[IPV6_LEN];
    unsigned prefix_len; /* 1 to 128 */
    bool has_gateway;
};

/* What a caller sent; borrowed. No gateway has no bytes. */
struct ipv6_request {
    const uint8_t *address, *gateway;
    size_t naddress, ngateway;
    uint32_t prefix_len;
};

/* Check that the address is one of a host, not of a link, and that the gateway can be
 * reached from it: by the link or on the same net. Returns 0 or -EINVAL with words. */
int ipv6_check(const struct ipv6_request *request, struct ipv6_setup *ret_setup,
               struct vmt_err *err);

/* Can an interface have this MTU? 0 stands for the present one. Returns 0 or -EINVAL. */
int ipv6_mtu_check(uint32_t mtu, bool has_ipv6, struct vmt_err *err);
