/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/resources.c - numbers that no two VMs may share. A VM holds them as long
 * as it is in the daemon's list, so none can be forgotten; what goes on from VM to VM is
 * in the daemon's record. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/vm/cid.h"
#include "core/vm/port.h"

static bool
cid_in_use(void *arg, uint32_t cid)
{
    return vm_find_cid(arg, cid) != NULL;
}

static bool
port_in_use(void *arg, uint32_t port)
{
    struct concierge *c = arg;

    VMT_LIST_FOREACH(at, following, &c->vms)
    if (VMT_CONTAINER_OF(at, struct concierge_vm, node)->network.port == port)
        return true;
    return false;
}

/* An address that somebody else is remembered for is not given away either: it would be
 * missing when its VM comes back. */
static bool
mac_in_use(void *arg, const uint8_t mac[VM_MAC_LEN])
{
    struct concierge_vm *vm = arg;
    struct concierge *c = vm->c;
    const struct vm_lease *lease = vm_leases_find_mac(&c->numbers.leases, mac);

    if (lease && lease->hash != vm_key_hash(vm->key))
        return true;
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *other = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (other != vm && memcmp(other->network.mac, mac, VM_MAC_LEN) == 0)
            return true;
    }
    return false;
}

/* The address that follows from the name needs no memory; another one does. */
static int
take_mac(struct concierge_vm *vm, struct vmt_err *err)
{
    struct vm_leases *leases = &vm->c->numbers.leases;
    struct vm_lease lease = {.hash = vm_key_hash(vm->key)};
    const struct vm_lease *old = vm_leases_find(leases, lease.hash);
    uint8_t derived[VM_MAC_LEN];
    int r;

    if (old && vm_mac_is_valid(old->mac) && !mac_in_use(vm, old->mac)) {
        memcpy(vm->network.mac, old->mac, VM_MAC_LEN);
        return 0;
    }
    r = vm_mac_alloc(lease.hash, mac_in_use, vm, vm->network.mac);
    if (r < 0)
        return vmt_err_set(err, -r, "find a free network address");
    if (old)
        lease = *old;
    vm_mac_derive(lease.hash, derived);
    if (memcmp(derived, vm->network.mac, VM_MAC_LEN) == 0 && !old)
        return 0;
    memcpy(lease.mac, vm->network.mac, VM_MAC_LEN);
    vm_leases_put(leases, &lease);
    return 0;
}

static int
take(struct concierge_vm *vm, struct vmt_err *err)
{
    struct concierge *c = vm->c;
    struct concierge_numbers *numbers = &c->numbers;
    int r = vm_cid_alloc(&numbers->next_cid, cid_in_use, c, &vm->cid);

    if (r < 0)
        return vmt_err_set(err, -r, "find a free vsock cid");
    if (vm->plan.net == HYPERVISOR_NET_NONE)
        return 0;
    r = vm_port_alloc(&numbers->next_port, port_in_use, c, &vm->network.port);
    if (r < 0)
        return vmt_err_set(err, -r, "find a free port for the file server");
    r = take_mac(vm, err);
    if (r == 0)
        (void)vm_mac_format(vm->network.mac, vm->network.mac_text);
    return r;
}

int
vm_take_numbers(struct concierge_vm *vm, struct vmt_err *err)
{
    struct concierge *c = vm->c;
    struct concierge_numbers before = c->numbers;
    int r = take(vm, err);

    if (r == 0) {
        r = concierge_record_save(c, err);
        if (r < 0)
            (void)vmt_err_wrap(err, r, "remember the numbers of the VM");
    }
    if (r < 0) {
        c->numbers = before;
        vm->cid = 0;
        vm->network = (struct vm_network){0};
        return r;
    }
    vm->agent.cid = vm->cid;
    return 0;
}
