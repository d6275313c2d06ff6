/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/ipv6.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "core/base/err.h"

#define MTU_MIN 68u /* RFC 791 */
/* RFC 8200, 5: with less Linux takes IPv6 off the interface. */
#define MTU_IPV6_MIN 1280u
#define MTU_MAX 65535u
#define PREFIX_MAX 128u

static bool
is_unicast(const struct in6_addr *a)
{
    return !IN6_IS_ADDR_UNSPECIFIED(a) && !IN6_IS_ADDR_LOOPBACK(a) &&
           !IN6_IS_ADDR_MULTICAST(a) && !IN6_IS_ADDR_V4MAPPED(a);
}

static bool
is_same_net(const uint8_t *a, const uint8_t *b, unsigned prefix_len)
{
    unsigned whole = prefix_len / 8, rest = prefix_len % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

static int
check_gateway(const struct ipv6_setup *setup, struct vmt_err *err)
{
    struct in6_addr gateway;

    memcpy(&gateway, setup->gateway, sizeof(gateway));
    if (!is_unicast(&gateway) ||
        memcmp(setup->gateway, setup->address, sizeof(setup->address)) == 0)
        return vmt_err_setx(err, EINVAL, "the IPv6 gateway is not another host");
    if (!IN6_IS_ADDR_LINKLOCAL(&gateway) &&
        !is_same_net(setup->address, setup->gateway, setup->prefix_len))
        return vmt_err_setx(err, EINVAL,
                            "the IPv6 gateway is neither of the link nor of the same /%u",
                            setup->prefix_len);
    return 0;
}

int
ipv6_check(const struct ipv6_request *request, struct ipv6_setup *ret_setup,
           struct vmt_err *err)
{
    struct ipv6_setup setup = {.prefix_len = request->prefix_len,
                               .has_gateway = request->ngateway > 0};
    struct in6_addr address;
    int r = 0;

    if (request->naddress != IPV6_LEN ||
        (setup.has_gateway && request->ngateway != IPV6_LEN))
        return vmt_err_setx(err, EINVAL, "an IPv6 address has 16 bytes");
    if (setup.prefix_len < 1 || setup.prefix_len > PREFIX_MAX)
        return vmt_err_setx(err, EINVAL, "an IPv6 prefix has 1 to 128 bits");
    memcpy(setup.address, request->address, IPV6_LEN);
    memcpy(&address, request->address, sizeof(address));
    if (!is_unicast(&address) || IN6_IS_ADDR_LINKLOCAL(&address))
        return vmt_err_setx(err, EINVAL, "the IPv6 address is not a host's own");
    if (setup.has_gateway) {
        memcpy(setup.gateway, request->gateway, IPV6_LEN);
        r = check_gateway(&setup, err);
    }
    if (r == 0)
        *ret_setup = setup;
    return r;
}

int
ipv6_mtu_check(uint32_t mtu, bool has_ipv6, struct vmt_err *err)
{
    uint32_t min = has_ipv6 ? MTU_IPV6_MIN : MTU_MIN;

    if (mtu != 0 && (mtu < min || mtu > MTU_MAX))
        return vmt_err_setx(err, EINVAL, "an MTU of %u is not within %u to %u", mtu, min,
                            MTU_MAX);
    return 0;
}
