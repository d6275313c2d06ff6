/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/network.c - how a VM is connected. */
#include <stdio.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/concierge/concierge_internal.h"

/* What the hypervisor's own NAT gives its guest, see HYPERVISOR_NET_USER. */
static const struct network_ipv4 user_ipv4 = {
    .address = 0x0a00020f, /* 10.0.2.15 */
    .mask = 0xffffff00,
    .gateway = 0x0a000202,
};
#define USER_DNS "10.0.2.3"

static const char *const mode_names[] = {
    [HYPERVISOR_NET_NONE] = "none",
    [HYPERVISOR_NET_USER] = "user",
    [HYPERVISOR_NET_TAP] = "tap",
};

uint32_t
network_order(uint32_t address)
{
    const uint8_t bytes[4] = {(uint8_t)(address >> 24), (uint8_t)(address >> 16),
                              (uint8_t)(address >> 8), (uint8_t)address};
    uint32_t v;

    memcpy(&v, bytes, sizeof(v));
    return v;
}

bool
network_ipv4(const struct concierge_vm *vm, struct network_ipv4 *ret)
{
    if (vm->plan.net != HYPERVISOR_NET_USER)
        return false;
    *ret = user_ipv4;
    return true;
}

void
network_dns(const struct concierge_vm *vm, struct host_dns *ret_dns)
{
    /* The hypervisor's own server asks the host's; names are completed like the host's.
     */
    *ret_dns = vm->c->follow.dns;
    if (vm->plan.net != HYPERVISOR_NET_USER)
        return;
    ret_dns->nservers = 1;
    (void)snprintf(ret_dns->servers[0], HOST_DNS_TEXT_MAX, "%s", USER_DNS);
}

void
network_info(const struct concierge_vm *vm, VmTools__Concierge__VmInfo *info)
{
    struct network_ipv4 ipv4;

    if (network_ipv4(vm, &ipv4))
        info->ipv4_address = network_order(ipv4.address);
    info->mac_address = (char *)(uintptr_t)vm->network.mac_text; /* packing only reads */
    info->network = (char *)(uintptr_t)mode_names[vm->plan.net];
}
