/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/resources.c - numbers that no two VMs may share. A VM holds them as long
 * as it is in the daemon's list, so none can be forgotten; what goes on from VM to VM is
 * in the daemon's record. */
#include <errno.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/vm/cid.h"
#include "core/vm/port.h"
#include "core/vm/subnet.h"

/* A route as wide as half of all addresses leads out of the host, whatever it names; it
 * does not mean that somebody uses what is behind it. */
#define RANGE_PREFIX_MIN 8u

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

/* lease: what the VM had, all zeroes if that is not known. */
static int
take_mac(struct concierge_vm *vm, struct vm_lease *lease, struct vmt_err *err)
{
    int r = 0;

    if (!vm_mac_is_valid(lease->mac) || mac_in_use(vm, lease->mac))
        r = vm_mac_alloc(lease->hash, mac_in_use, vm, lease->mac);
    if (r < 0)
        return vmt_err_set(err, -r, "find a free network address");
    memcpy(vm->network.mac, lease->mac, VM_MAC_LEN);
    (void)vm_mac_format(lease->mac, vm->network.mac_text);
    return 0;
}

/* --- subnets --- */

/* What is asked about each subnet. */
struct subnets {
    struct concierge_vm *vm;
    uint64_t hash;             /* of its key */
    struct vmt_buf taken;      /* of struct vm_range: the host's */
    const struct vm_range *no; /* the other pool's, NULL: there is none */
    struct vm_range clash;     /* a range of the host that was in the way */
    bool clashed;
    int error;
};

static void
on_range(void *arg, uint32_t address, unsigned prefix)
{
    struct subnets *s = arg;
    const struct vm_range range = {address & vm_range_mask(prefix), prefix};
    const struct concierge_network *config = &s->vm->c->config.network;

    if (prefix < RANGE_PREFIX_MIN || (!vm_range_overlaps(&range, &config->subnets) &&
                                      !vm_range_overlaps(&range, &config->containers)))
        return;
    if (s->error == 0)
        s->error = vmt_buf_append(&s->taken, &range, sizeof(range));
}

static bool
host_uses(struct subnets *s, const struct vm_range *subnet)
{
    const struct vm_range *ranges = (const void *)s->taken.data;

    for (size_t i = 0; i < s->taken.len / sizeof(*ranges); i++)
        if (vm_range_overlaps(&ranges[i], subnet)) {
            s->clash = ranges[i];
            s->clashed = true;
            return true;
        }
    return false;
}

static bool
vm_uses(const struct concierge_vm *vm, const struct vm_range *subnet)
{
    const struct host_net_vm *h = &vm->network.host;
    const struct vm_range own = {h->guest & vm_range_mask(h->prefix), h->prefix};
    const struct vm_range containers = {h->container, h->container_prefix};

    return (h->guest && vm_range_overlaps(&own, subnet)) ||
           (h->container && vm_range_overlaps(&containers, subnet));
}

static uint64_t
subnet_used(void *arg, const struct vm_range *subnet)
{
    struct subnets *s = arg;
    struct concierge *c = s->vm->c;
    const struct vm_lease *lease =
        vm_leases_find_subnet(&c->numbers.leases, subnet->address);

    if ((s->no && vm_range_overlaps(s->no, subnet)) || host_uses(s, subnet))
        return VM_SUBNET_TAKEN;
    VMT_LIST_FOREACH(at, following, &c->vms)
    if (vm_uses(VMT_CONTAINER_OF(at, struct concierge_vm, node), subnet))
        return VM_SUBNET_TAKEN;
    return lease && lease->hash != s->hash ? lease->used : VM_SUBNET_FREE;
}

/* The one that the VM had, as long as it is of the pool and free. */
static bool
is_good(struct subnets *s, const struct vm_subnet_pool *pool, uint32_t address)
{
    const struct vm_range had = {address, pool->prefix};

    return address && (address & ~vm_range_mask(pool->prefix)) == 0 &&
           had.prefix >= pool->range.prefix && vm_range_overlaps(&had, &pool->range) &&
           !(pool->first_reserved && address == pool->range.address) &&
           subnet_used(s, &had) != VM_SUBNET_TAKEN;
}

static int
take_subnet(struct subnets *s, const struct vm_subnet_pool *pool, uint32_t *address,
            struct vmt_err *err)
{
    char range[VM_RANGE_TEXT_MAX], clash[VM_RANGE_TEXT_MAX];
    struct vm_range got;
    int r;

    if (is_good(s, pool, *address))
        return 0;
    r = vm_subnet_alloc(pool, s->hash, subnet_used, s, &got);
    if (r == 0) {
        *address = got.address;
        return 0;
    }
    (void)vm_range_format(&pool->range, range);
    if (s->clashed)
        return vmt_err_setx(err, -r,
                            "no free subnet in %s: the host has a route for %s, VMs the "
                            "rest; choose another range (vm_concierge --subnet, "
                            "--container-subnet)",
                            range, vm_range_format(&s->clash, clash));
    return vmt_err_setx(err, -r,
                        "no free subnet in %s: VMs have them all; stop one, or choose a "
                        "larger range (vm_concierge --subnet, --container-subnet)",
                        range);
}

static int
take_both(struct subnets *s, struct vm_lease *lease, struct vmt_err *err)
{
    const struct concierge_network *config = &s->vm->c->config.network;
    const struct vm_subnet_pool own = {config->subnets, VM_SUBNET_PREFIX, true};
    const struct vm_subnet_pool containers = {config->containers, VM_CONTAINER_PREFIX,
                                              false};
    int r;

    s->no = &config->containers;
    r = take_subnet(s, &own, &lease->subnet, err);
    s->no = NULL;
    s->clashed = false;
    if (r == 0 && s->vm->plan.containers)
        r = take_subnet(s, &containers, &lease->container, err);
    return r;
}

static int
take_subnets(struct concierge_vm *vm, struct vm_lease *lease, struct vmt_err *err)
{
    struct host_net *net = vm->c->config.net;
    struct host_net_vm *h = &vm->network.host;
    struct subnets s = {.vm = vm, .hash = lease->hash};
    int r = net->ops->ranges(net, on_range, &s, err);

    if (r == 0 && s.error < 0)
        r = vmt_err_set(err, -s.error, "find a free subnet");
    if (r == 0)
        r = take_both(&s, lease, err);
    vmt_buf_done(&s.taken);
    if (r < 0)
        return r;
    h->prefix = VM_SUBNET_PREFIX;
    h->gateway = lease->subnet + VM_SUBNET_GATEWAY;
    h->guest = lease->subnet + VM_SUBNET_GUEST;
    h->container = vm->plan.containers ? lease->container : 0;
    h->container_prefix = VM_CONTAINER_PREFIX;
    return 0;
}

/* --- all of them --- */

/* An address that follows from the name needs no memory; any other, and a subnet, does.
 */
static void
remember(struct concierge *c, const struct vm_lease *lease)
{
    uint8_t derived[VM_MAC_LEN];

    vm_mac_derive(lease->hash, derived);
    if (lease->subnet || memcmp(derived, lease->mac, VM_MAC_LEN) != 0)
        vm_leases_put(&c->numbers.leases, lease);
}

static int
take_network(struct concierge_vm *vm, struct vmt_err *err)
{
    struct concierge *c = vm->c;
    struct concierge_numbers *numbers = &c->numbers;
    struct vm_lease lease = {.hash = vm_key_hash(vm->key)};
    const struct vm_lease *old = vm_leases_find(&numbers->leases, lease.hash);
    int r = vm_port_alloc(&numbers->next_port, port_in_use, c, &vm->network.port);

    if (r < 0)
        return vmt_err_set(err, -r, "find a free port for the file server");
    if (old)
        lease = *old;
    r = take_mac(vm, &lease, err);
    if (r == 0 && vm->plan.net == HYPERVISOR_NET_TAP)
        r = take_subnets(vm, &lease, err);
    if (r == 0)
        remember(c, &lease);
    return r;
}

static int
take(struct concierge_vm *vm, struct vmt_err *err)
{
    struct concierge *c = vm->c;
    int r = vm_cid_alloc(&c->numbers.next_cid, cid_in_use, c, &vm->cid);

    if (r < 0)
        return vmt_err_set(err, -r, "find a free vsock cid");
    return vm->plan.net == HYPERVISOR_NET_NONE ? 0 : take_network(vm, err);
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
        vm->network = (struct vm_network){.tap_fd = -1};
        return r;
    }
    vm->agent.cid = vm->cid;
    return 0;
}
