/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/record_network.c - numbers and addresses in records. What is read may be
 * damaged: a value that could not have been given away counts as none. */
#include <string.h>

#include "core/concierge/concierge_internal.h"
#include "core/concierge/record_internal.h"
#include "core/vm/port.h"
#include "vmt_state.pb-c.h"

static ProtobufCBinaryData
mac_bytes(const uint8_t mac[VM_MAC_LEN])
{
    return (ProtobufCBinaryData){
        .len = vm_mac_is_valid(mac) ? VM_MAC_LEN : 0,
        .data = (uint8_t *)(uintptr_t)mac, /* packing only reads it */
    };
}

static void
read_mac(const ProtobufCBinaryData *bytes, uint8_t ret_mac[VM_MAC_LEN])
{
    memset(ret_mac, 0, VM_MAC_LEN);
    if (bytes->len == VM_MAC_LEN && vm_mac_is_valid(bytes->data))
        memcpy(ret_mac, bytes->data, VM_MAC_LEN);
}

void
network_record_fill(const struct concierge_vm *vm, Vmt__NetworkRecord *record)
{
    vmt__network_record__init(record);
    record->mac = mac_bytes(vm->network.mac);
    record->port = vm->network.port;
    record->mode = (char *)(uintptr_t)network_name(vm->plan.net);
    record->tap = (char *)(uintptr_t)vm->network.host.tap;
    record->guest = vm->network.host.guest;
    record->gateway = vm->network.host.gateway;
    record->prefix = vm->network.host.prefix;
    record->container = vm->network.host.container;
    record->container_prefix = vm->network.host.container_prefix;
}

static void
read_tap(struct concierge_vm *vm, const Vmt__NetworkRecord *record)
{
    struct host_net_vm *host = &vm->network.host;

    vm->plan.net = network_by_name(record->mode);
    if (strlen(record->tap) >= sizeof(host->tap) || record->prefix > 32 ||
        record->container_prefix > 32)
        return;
    memcpy(host->tap, record->tap, strlen(record->tap) + 1);
    memcpy(host->mac, vm->network.mac, VM_MAC_LEN);
    host->guest = record->guest;
    host->gateway = record->gateway;
    host->prefix = record->prefix;
    host->container = record->container;
    host->container_prefix = record->container_prefix;
}

void
network_record_read(struct concierge_vm *vm, const Vmt__NetworkRecord *record)
{
    if (!record)
        return;
    read_mac(&record->mac, vm->network.mac);
    if (vm_mac_is_valid(vm->network.mac))
        (void)vm_mac_format(vm->network.mac, vm->network.mac_text);
    if (record->port >= VM_PORT_FIRST && record->port <= VM_PORT_LAST)
        vm->network.port = record->port;
    if (*record->mode)
        read_tap(vm, record);
}

void
numbers_record_fill(const struct concierge_numbers *numbers, Vmt__DaemonRecord *record,
                    struct numbers_record *room)
{
    record->next_cid = numbers->next_cid;
    record->next_port = numbers->next_port;
    for (size_t i = 0; i < numbers->leases.n; i++) {
        const struct vm_lease *from = &numbers->leases.v[i];
        Vmt__LeaseRecord *to = &room->leases[i];

        vmt__lease_record__init(to);
        to->hash = from->hash;
        to->used = from->used;
        to->subnet = from->subnet;
        to->container = from->container;
        to->mac = mac_bytes(from->mac);
        room->list[i] = to;
    }
    record->leases = room->list;
    record->n_leases = numbers->leases.n;
}

static void
read_lease(struct vm_leases *leases, const Vmt__LeaseRecord *from)
{
    struct vm_lease *to = &leases->v[leases->n];

    if (!from->used || vm_leases_find(leases, from->hash))
        return;
    *to = (struct vm_lease){.hash = from->hash,
                            .used = from->used,
                            .subnet = from->subnet,
                            .container = from->container};
    read_mac(&from->mac, to->mac);
    if (from->used > leases->clock)
        leases->clock = from->used;
    leases->n++;
}

void
numbers_record_read(struct concierge_numbers *numbers, const Vmt__DaemonRecord *record)
{
    numbers->next_cid = record->next_cid;
    numbers->next_port = record->next_port;
    numbers->leases.n = 0;
    numbers->leases.clock = 0;
    for (size_t i = 0; i < record->n_leases && numbers->leases.n < VM_LEASES_MAX; i++)
        read_lease(&numbers->leases, record->leases[i]);
}
