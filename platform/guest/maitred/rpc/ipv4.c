/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/ipv4.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>

#include "core/base/err.h"

/* The length of a contiguous mask in host order; -1 for any other. */
static int
prefix_len(uint32_t mask)
{
    int len = 0;

    while (len < 32 && mask & UINT32_C(1) << (31 - len))
        len++;
    return len < 32 && (mask & (UINT32_MAX >> len)) ? -1 : len;
}

/* Neither the net itself nor its broadcast address; a /31 has neither, RFC 3021. */
static bool
is_host(uint32_t address, uint32_t mask, int len)
{
    uint32_t host = address & ~mask;

    return len == 31 || (host != 0 && host != ~mask);
}

int
ipv4_check(const struct ipv4_setup *setup, struct vmt_err *err)
{
    uint32_t address = ntohl(setup->address), mask = ntohl(setup->netmask);
    uint32_t gateway = ntohl(setup->gateway);
    int len = prefix_len(mask);

    if (address == 0 || mask == 0 || gateway == 0)
        return vmt_err_setx(err, EINVAL, "address, netmask and gateway must not be zero");
    if (len < 1 || len > 31)
        return vmt_err_setx(err, EINVAL, "netmask %08x is none of a net with hosts",
                            mask);
    if (!is_host(address, mask, len) || address >> 24 == 127 || address >> 28 >= 14)
        return vmt_err_setx(err, EINVAL, "address %08x/%d is not one of a host", address,
                            len);
    if ((address & mask) != (gateway & mask) || gateway == address ||
        !is_host(gateway, mask, len))
        return vmt_err_setx(err, EINVAL, "gateway %08x is not another host of %08x/%d",
                            gateway, address, len);
    return len;
}
