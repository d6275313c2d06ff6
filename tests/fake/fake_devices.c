/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_devices.c - memory and devices of the fake hypervisor's VMs. A call
 * changes them on the turn that answers it, so a hung process changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "tests/fake/fake_hypervisor_internal.h"

static void
copy_text(char *to, size_t cap, const char *from)
{
    (void)snprintf(to, cap, "%s", from ? from : "");
}

static struct fake_disk
disk_of(const struct hypervisor_disk *disk)
{
    struct fake_disk d = {.fd = disk->fd,
                          .read_only = disk->read_only,
                          .qcow2 = disk->qcow2,
                          .slot = disk->slot};

    copy_text(d.serial, sizeof(d.serial), disk->serial);
    copy_text(d.path, sizeof(d.path), disk->path);
    return d;
}

void
fake_devices_init(struct fake_devices *devices, const struct vm_spec *spec)
{
    devices->saved = -1;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(devices->usb); i++)
        devices->usb[i] = -1;
    for (size_t i = 0; i < spec->ndisks && i < FAKE_DISKS_MAX; i++) {
        devices->disks[devices->ndisks++] = disk_of(&spec->disks[i]);
        if (spec->disks[i].slot <= FAKE_SLOTS_MAX)
            devices->used[spec->disks[i].slot] = true;
    }
    devices->has_vsock = spec->vsock == HYPERVISOR_VSOCK_VHOST_USER;
    copy_text(devices->vsock, sizeof(devices->vsock), spec->vsock_socket);
}

/* Take the slot that *slot names, or any for 0. Returns 0, -EBUSY, -ENOSPC. */
static int
slot_take(struct fake_process *p, unsigned *slot)
{
    unsigned n = p->start.spare_slots;

    if (n > FAKE_SLOTS_MAX)
        n = FAKE_SLOTS_MAX;
    if (*slot > n)
        return -ENOSPC;
    if (*slot > 0 && p->devices.used[*slot])
        return -EBUSY;
    for (unsigned i = 1; *slot == 0 && i <= n; i++)
        if (!p->devices.used[i])
            *slot = i;
    if (*slot == 0)
        return -ENOSPC;
    p->devices.used[*slot] = true;
    return 0;
}

static struct fake_disk *
disk_find(struct fake_devices *d, const char *serial)
{
    for (size_t i = 0; i < d->ndisks; i++)
        if (serial[0] && strcmp(d->disks[i].serial, serial) == 0)
            return &d->disks[i];
    return NULL;
}

static struct fake_nic *
nic_find(struct fake_devices *d, const char *id)
{
    for (size_t i = 0; i < d->nnics; i++)
        if (strcmp(d->nics[i].id, id) == 0)
            return &d->nics[i];
    return NULL;
}

static int
apply_balloon(struct fake_process *p, struct fake_call *c)
{
    if (c->number >= (uint64_t)p->start.mem_mib << 20)
        return -EINVAL;
    p->devices.balloon = c->number;
    return 0;
}

static int
apply_memory(struct fake_process *p, struct fake_call *c)
{
    (void)c;
    return p->devices.has_memory ? 0 : -EAGAIN;
}

static int
apply_disk_resize(struct fake_process *p, struct fake_call *c)
{
    struct fake_disk *d = disk_find(&p->devices, c->text);

    if (!d)
        return -ENOENT;
    d->size = c->number;
    return 0;
}

static int
apply_disk_add(struct fake_process *p, struct fake_call *c)
{
    struct fake_devices *d = &p->devices;
    int r;

    if (disk_find(d, c->disk.serial))
        return -EEXIST;
    r = slot_take(p, &c->disk.slot);
    if (r == 0)
        d->disks[d->ndisks++] = c->disk;
    return r;
}

static int
apply_disk_remove(struct fake_process *p, struct fake_call *c)
{
    struct fake_devices *d = &p->devices;
    struct fake_disk *disk = disk_find(d, c->text);

    if (!disk)
        return -ENOENT;
    if (disk->slot == 0)
        return -EPERM;
    if (d->stubborn)
        return -ETIMEDOUT;
    d->used[disk->slot] = false;
    *disk = d->disks[--d->ndisks];
    return 0;
}

static int
apply_nic_add(struct fake_process *p, struct fake_call *c)
{
    struct fake_devices *d = &p->devices;
    int r;

    if (nic_find(d, c->nic.id))
        return -EEXIST;
    r = slot_take(p, &c->nic.slot);
    if (r == 0)
        d->nics[d->nnics++] = c->nic;
    return r;
}

static int
apply_nic_remove(struct fake_process *p, struct fake_call *c)
{
    struct fake_devices *d = &p->devices;
    struct fake_nic *nic = nic_find(d, c->text);

    if (!nic)
        return -ENOENT;
    if (d->stubborn)
        return -ETIMEDOUT;
    d->used[nic->slot] = false;
    *nic = d->nics[--d->nnics];
    return 0;
}

static int
apply_vsock_add(struct fake_process *p, struct fake_call *c)
{
    if (p->devices.has_vsock)
        return -EEXIST;
    if (p->start.spare_slots == 0)
        return -ENOSPC;
    p->devices.has_vsock = true;
    copy_text(p->devices.vsock, sizeof(p->devices.vsock), c->text);
    return 0;
}

static int
apply_vsock_remove(struct fake_process *p, struct fake_call *c)
{
    (void)c;
    if (!p->devices.has_vsock)
        return -ENOENT;
    if (p->start.spare_slots == 0)
        return -EPERM;
    if (p->devices.stubborn)
        return -ETIMEDOUT;
    p->devices.has_vsock = false;
    return 0;
}

static int
apply_usb_attach(struct fake_process *p, struct fake_call *c)
{
    struct fake_devices *d = &p->devices;
    int r;

    if (c->number < 1 || c->number > HYPERVISOR_USB_PORT_MAX)
        return -EINVAL;
    if (d->usb[c->number] >= 0)
        return -EEXIST;
    r = d->usb_slot ? 0 : slot_take(p, &d->usb_slot);
    if (r == 0)
        d->usb[c->number] = c->fd;
    return r;
}

static int
apply_usb_detach(struct fake_process *p, struct fake_call *c)
{
    if (c->number < 1 || c->number > HYPERVISOR_USB_PORT_MAX)
        return -EINVAL;
    if (p->devices.usb[c->number] < 0)
        return -ENOENT;
    p->devices.usb[c->number] = -1;
    return 0;
}

static int
apply_save(struct fake_process *p, struct fake_call *c)
{
    static const char state[FAKE_STATE_BYTES] = "the state of a fake";

    if (!p->paused || p->devices.has_vsock)
        return -EINVAL;
    p->devices.saved = c->fd;
    /* The descriptor of a test may be of any kind. */
    return write(c->fd, state, FAKE_STATE_BYTES) < 0 && errno != EBADF ? -errno : 0;
}

typedef int apply_fn(struct fake_process *p, struct fake_call *c);

static apply_fn *const apply_of[FAKE_OP_COUNT] = {
    [FAKE_OP_BALLOON_SET] = apply_balloon,       [FAKE_OP_MEMORY] = apply_memory,
    [FAKE_OP_DISK_RESIZE] = apply_disk_resize,   [FAKE_OP_DISK_ADD] = apply_disk_add,
    [FAKE_OP_DISK_REMOVE] = apply_disk_remove,   [FAKE_OP_NIC_ADD] = apply_nic_add,
    [FAKE_OP_NIC_REMOVE] = apply_nic_remove,     [FAKE_OP_VSOCK_ADD] = apply_vsock_add,
    [FAKE_OP_VSOCK_REMOVE] = apply_vsock_remove, [FAKE_OP_USB_ATTACH] = apply_usb_attach,
    [FAKE_OP_USB_DETACH] = apply_usb_detach,     [FAKE_OP_SAVE] = apply_save,
};

/* Queue a copy of call, which holds its arguments. */
static int
submit(struct hypervisor_vm *vm, enum fake_op op, const struct fake_call *call)
{
    const struct fake_behaviour *b = &vm->hv->behaviour;
    struct fake_call *c;

    if (!vm->control)
        return -ENOTCONN;
    if (b->refuse[op])
        return -b->refuse[op];
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = *call;
    c->vm = vm;
    c->apply = apply_of[op];
    c->result = -b->fail[op];
    vm->hv->calls.ops[op]++;
    vmt_list_append(&vm->pending, &c->node);
    if (!vm->process->frozen && !b->hold[op])
        fake_later(vm->hv, fake_call_fire, c, &c->timer);
    return 0;
}

static int
balloon_set(struct hypervisor_vm *vm, uint64_t bytes, hypervisor_done_fn *done, void *arg)
{
    const struct fake_call c = {.done = done, .arg = arg, .number = bytes};

    return submit(vm, FAKE_OP_BALLOON_SET, &c);
}

static int
memory(struct hypervisor_vm *vm, hypervisor_memory_fn *done, void *arg)
{
    const struct fake_call c = {.memory_done = done, .arg = arg};

    return submit(vm, FAKE_OP_MEMORY, &c);
}

static int
disk_resize(struct hypervisor_vm *vm, const char *serial, uint64_t size,
            hypervisor_done_fn *done, void *arg)
{
    struct fake_call c = {.done = done, .arg = arg, .number = size};

    copy_text(c.text, sizeof(c.text), serial);
    return submit(vm, FAKE_OP_DISK_RESIZE, &c);
}

static int
disk_add(struct hypervisor_vm *vm, const struct hypervisor_disk *disk,
         hypervisor_done_fn *done, void *arg)
{
    const struct fake_call c = {.done = done, .arg = arg, .disk = disk_of(disk)};

    return submit(vm, FAKE_OP_DISK_ADD, &c);
}

static int
disk_remove(struct hypervisor_vm *vm, const char *serial, hypervisor_done_fn *done,
            void *arg)
{
    struct fake_call c = {.done = done, .arg = arg};

    copy_text(c.text, sizeof(c.text), serial);
    return submit(vm, FAKE_OP_DISK_REMOVE, &c);
}

static int
nic_add(struct hypervisor_vm *vm, const struct hypervisor_nic *nic,
        hypervisor_done_fn *done, void *arg)
{
    struct fake_call c = {.done = done, .arg = arg, .nic.tap_fd = nic->tap_fd};

    copy_text(c.nic.id, sizeof(c.nic.id), nic->id);
    memcpy(c.nic.mac, nic->mac, sizeof(c.nic.mac));
    return submit(vm, FAKE_OP_NIC_ADD, &c);
}

static int
nic_remove(struct hypervisor_vm *vm, const char *id, hypervisor_done_fn *done, void *arg)
{
    struct fake_call c = {.done = done, .arg = arg};

    copy_text(c.text, sizeof(c.text), id);
    return submit(vm, FAKE_OP_NIC_REMOVE, &c);
}

static int
vsock_add(struct hypervisor_vm *vm, const char *socket, hypervisor_done_fn *done,
          void *arg)
{
    struct fake_call c = {.done = done, .arg = arg};

    copy_text(c.text, sizeof(c.text), socket);
    return submit(vm, FAKE_OP_VSOCK_ADD, &c);
}

static int
vsock_remove(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg)
{
    const struct fake_call c = {.done = done, .arg = arg};

    return submit(vm, FAKE_OP_VSOCK_REMOVE, &c);
}

static int
usb_attach(struct hypervisor_vm *vm, unsigned port, int fd, hypervisor_done_fn *done,
           void *arg)
{
    const struct fake_call c = {.done = done, .arg = arg, .number = port, .fd = fd};

    return submit(vm, FAKE_OP_USB_ATTACH, &c);
}

static int
usb_detach(struct hypervisor_vm *vm, unsigned port, hypervisor_done_fn *done, void *arg)
{
    const struct fake_call c = {.done = done, .arg = arg, .number = port};

    return submit(vm, FAKE_OP_USB_DETACH, &c);
}

static int
save(struct hypervisor_vm *vm, int fd, hypervisor_done_fn *done, void *arg)
{
    const struct fake_call c = {.done = done, .arg = arg, .fd = fd};

    return submit(vm, FAKE_OP_SAVE, &c);
}

void
fake_devices_ops(struct hypervisor_ops *ops)
{
    ops->balloon_set = balloon_set;
    ops->memory = memory;
    ops->disk_resize = disk_resize;
    ops->disk_add = disk_add;
    ops->disk_remove = disk_remove;
    ops->nic_add = nic_add;
    ops->nic_remove = nic_remove;
    ops->vsock_add = vsock_add;
    ops->vsock_remove = vsock_remove;
    ops->usb_attach = usb_attach;
    ops->usb_detach = usb_detach;
    ops->save = save;
}

const struct fake_disk *
fake_process_disk(const struct fake_process *process, const char *serial)
{
    for (size_t i = 0; i < process->devices.ndisks; i++)
        if (strcmp(process->devices.disks[i].serial, serial) == 0)
            return &process->devices.disks[i];
    return NULL;
}

const struct fake_nic *
fake_process_nic(const struct fake_process *process, const char *id)
{
    for (size_t i = 0; i < process->devices.nnics; i++)
        if (strcmp(process->devices.nics[i].id, id) == 0)
            return &process->devices.nics[i];
    return NULL;
}

const char *
fake_process_vsock(const struct fake_process *process)
{
    return process->devices.has_vsock ? process->devices.vsock : NULL;
}

int
fake_process_usb(const struct fake_process *process, unsigned port)
{
    return port <= HYPERVISOR_USB_PORT_MAX ? process->devices.usb[port] : -1;
}

uint64_t
fake_process_balloon(const struct fake_process *process)
{
    return process->devices.balloon;
}

void
fake_process_stick_balloon(struct fake_process *process, bool stuck)
{
    if (stuck && !process->devices.stuck)
        process->devices.inflated = process->devices.balloon;
    process->devices.stuck = stuck;
}

int
fake_process_saved(const struct fake_process *process)
{
    return process->devices.saved;
}

void
fake_process_set_memory(struct fake_process *process,
                        const struct hypervisor_memory *memory)
{
    process->devices.has_memory = memory != NULL;
    if (memory)
        process->devices.memory = *memory;
}

void
fake_process_set_consent(struct fake_process *process, bool consent)
{
    process->devices.stubborn = !consent;
}

void
fake_process_lose_vsock(struct fake_process *process)
{
    struct hypervisor_vm *vm = process->vm;

    process->devices.has_vsock = false;
    if (vm && vm->events->on_vsock_gone)
        vm->events->on_vsock_gone(vm->arg);
}
