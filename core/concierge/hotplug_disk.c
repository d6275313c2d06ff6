/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/hotplug_disk.c - AttachDisk and DetachDisk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"
#include "vmt_hotplug.pb-c.h"

typedef Vmt__AttachDiskRequest attach_t;
typedef Vmt__DetachDiskRequest detach_t;

#define WHAT "disks to a VM that runs"

static void
reply_attach(struct ipc_call *call, const char *serial, const char *why)
{
    Vmt__AttachDiskResponse response = VMT__ATTACH_DISK_RESPONSE__INIT;

    response.success = !why;
    response.failure_reason = (char *)(uintptr_t)(why ? why : "");
    response.serial = (char *)(uintptr_t)(why ? "" : serial);
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
answer_attach(struct hotplug_call *hc, const char *why)
{
    reply_attach(hc->call, hc->vm->hotplug->disks[hc->index].serial, why);
}

static struct plugged_disk *
find(struct vm_hotplug *h, const char *serial)
{
    for (size_t i = 0; i < HOTPLUG_DISKS_MAX; i++)
        if (h->disks[i].at.used && strcmp(h->disks[i].serial, serial) == 0)
            return &h->disks[i];
    return NULL;
}

static bool
is_known(struct concierge_vm *vm, const char *serial)
{
    for (size_t i = 0; i < vm->plan.nblocks; i++)
        if (strcmp(vm->plan.serials[i], serial) == 0)
            return true;
    return find(vm->hotplug, serial) != NULL;
}

/* The caller's name for it, or one that no disk of the VM has. */
static int
choose_serial(struct concierge_vm *vm, const char *wanted,
              char serial[HOTPLUG_SERIAL_MAX], struct vmt_err *err)
{
    int n = snprintf(serial, HOTPLUG_SERIAL_MAX, "%s", wanted);

    if (n < 0 || n >= (int)HOTPLUG_SERIAL_MAX)
        return vmt_err_setx(err, EINVAL, "the serial has more than %u characters",
                            HOTPLUG_SERIAL_MAX - 1);
    for (unsigned i = 1; !serial[0] || (!*wanted && is_known(vm, serial)); i++)
        (void)snprintf(serial, HOTPLUG_SERIAL_MAX, "plug%u", i);
    if (is_known(vm, serial))
        return vmt_err_setx(err, EEXIST, "the VM has a disk of this serial");
    for (const char *s = serial; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return vmt_err_setx(err, EINVAL, "the serial is not printable");
    return 0;
}

/* An AttachDisk whose image is being opened. */
struct attaching {
    struct concierge *c;      /* borrowed */
    struct ipc_call *call;    /* owned until answered */
    const attach_t *rq;       /* of the call */
    char token[VM_TOKEN_MAX]; /* of the VM that it is for */
    bool qcow2;
    struct opening *opening;
};

/* An image in the owner's folder is ours, whoever calls, and locked for the VM as one
 * that it starts with; its name tells the format. */
static int
find_image(struct concierge *c, const attach_t *rq, struct opening_file *file,
           bool *ret_qcow2, struct vmt_err *err)
{
    struct host *host = c->config.host;
    char name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;
    const char *inside;

    *file = (struct opening_file){
        .kind = OPENING_IMAGE, .name = rq->path, .writable = rq->writable};
    *ret_qcow2 = rq->qcow2;
    if (!host->disks->is_inside(host, rq->owner_id, rq->path, &inside))
        return 0;
    if (!disk_file_parse(inside, name, &kind) || kind == DISK_KIND_PFLASH)
        return vmt_err_setx(err, ENOENT, "disk %s: this is no disk image", rq->path);
    file->kind = OPENING_STORE;
    file->name = inside;
    *ret_qcow2 = kind == DISK_KIND_QCOW2;
    return 0;
}

static struct hotplug_call *
prepare_attach(struct concierge_vm *vm, struct ipc_call *call, const char *serial,
               struct vmt_err *err)
{
    struct vm_hotplug *h = vm->hotplug;
    size_t i = 0;

    while (i < HOTPLUG_DISKS_MAX && h->disks[i].at.used)
        i++;
    if (i == HOTPLUG_DISKS_MAX) {
        (void)vmt_err_setx(err, ENOSPC, "the VM has no room for more disks");
        return NULL;
    }
    (void)snprintf(h->disks[i].serial, sizeof(h->disks[i].serial), "%s", serial);
    return hotplug_attach(vm, call, &h->disks[i].at, i, err);
}

static int
find_vm(struct concierge *c, const attach_t *rq, char serial[HOTPLUG_SERIAL_MAX],
        struct concierge_vm **ret_vm, struct vmt_err *err)
{
    int r = hotplug_find(c, rq->owner_id, rq->name, HYPERVISOR_CAP_DISK_HOTPLUG, WHAT,
                         ret_vm, err);

    return r < 0 ? r : choose_serial(*ret_vm, rq->serial, serial, err);
}

/* disk->fd is borrowed. */
static void
attach(struct concierge *c, struct ipc_call *call, const attach_t *rq,
       struct concierge_vm *vm, struct hypervisor_disk *disk)
{
    const struct hypervisor_ops *ops = c->config.hypervisor->ops;
    struct vmt_err err = {0};
    struct hotplug_call *hc = prepare_attach(vm, call, disk->serial, &err);

    if (!hc) {
        reply_attach(call, "", err.msg);
        return;
    }
    disk->block_size = rq->block_size;
    hc->answer = answer_attach;
    hotplug_asked(hc, ops->disk_add(vm->hv, disk, hotplug_on_done, hc));
}

/* The VM may have come to its end meanwhile, and another of its name started. */
static void
on_opened(void *arg, int *fds, const struct vmt_err *cause)
{
    VMT_CLEANUP(vmt_freep) struct attaching *a = arg;
    char serial[HOTPLUG_SERIAL_MAX];
    struct hypervisor_disk disk = {
        .fd = -1, .read_only = !a->rq->writable, .qcow2 = a->qcow2};
    struct concierge_vm *vm = NULL;
    struct vmt_err err = {0};
    int r;

    if (!fds) {
        reply_attach(a->call, "", cause->msg);
        return;
    }
    r = find_vm(a->c, a->rq, serial, &vm, &err);
    if (r == 0 && vm && strcmp(vm->token, a->token) != 0)
        r = vmt_err_setx(&err, ENOENT, "the VM has ended");
    if (r < 0 || !vm) {
        reply_attach(a->call, "", err.msg);
        return;
    }
    disk.fd = fds[0];
    disk.serial = serial;
    attach(a->c, a->call, a->rq, vm, &disk);
}

static int
attach_path(struct concierge *c, struct ipc_call *call, const attach_t *rq,
            const struct concierge_vm *vm, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct attaching *a = calloc(1, sizeof(*a));
    struct opening_file file;
    const struct opening_request request = {
        .owner = rq->owner_id, .caller = ipc_call_caller(call), .files = &file, .n = 1};
    int r;

    if (!a)
        return vmt_err_set(err, ENOMEM, "attach the disk");
    a->c = c;
    a->call = call;
    a->rq = rq;
    (void)snprintf(a->token, sizeof(a->token), "%s", vm->token);
    r = find_image(c, rq, &file, &a->qcow2, err);
    if (r == 0)
        r = opening_start(c, &request, on_opened, a, &a->opening, err);
    if (r == 0)
        (void)vmt_take_ptr(&a); /* on_opened frees it */
    return r;
}

/* The descriptor that came, or -1; it stays the caller's. */
static int
begin_attach(struct concierge *c, struct ipc_call *call, const attach_t *rq, int fd,
             struct vmt_err *err)
{
    struct host *host = c->config.host;
    struct hypervisor_disk disk = {.fd = fd, .qcow2 = rq->qcow2};
    char serial[HOTPLUG_SERIAL_MAX];
    struct concierge_vm *vm = NULL;
    bool writable;
    int r = find_vm(c, rq, serial, &vm, err);

    if (r < 0)
        return r;
    if ((fd >= 0) == (*rq->path != '\0'))
        return vmt_err_setx(err, EINVAL,
                            "send either the path of an image or one "
                            "descriptor");
    if (fd < 0)
        return attach_path(c, call, rq, vm, err);
    r = host->files->image_check(host, fd, &writable, err);
    if (r < 0)
        return r;
    disk.read_only = !writable;
    disk.serial = serial;
    attach(c, call, rq, vm, &disk);
    return 0;
}

void
concierge_handle_attach_disk(void *ctx, struct ipc_call *call,
                             const ProtobufCMessage *message)
{
    struct concierge *c = ctx;
    struct host *host = c->config.host;
    int fds[2] = {-1, -1};
    size_t n = ipc_call_take_fds(call, fds, VMT_ARRAY_SIZE(fds));
    struct vmt_err err = {0};

    if (n > 1)
        reply_attach(call, "", "send one descriptor at most");
    else if (begin_attach(c, call, (const attach_t *)message, fds[0], &err) < 0)
        reply_attach(call, "", err.msg);
    host->files->close(host, fds[0]);
    host->files->close(host, fds[1]);
}

/* A disk that can be taken out, or NULL with words. */
static struct plugged_disk *
find_idle(struct concierge_vm *vm, const char *serial, struct vmt_err *err)
{
    struct plugged_disk *disk = find(vm->hotplug, serial);

    if (!disk)
        (void)vmt_err_setx(err, ENOENT, "no disk of this serial was attached to the VM");
    else if (disk->at.busy)
        (void)vmt_err_setx(err, EBUSY, "the disk is being attached or detached");
    else
        return disk;
    return NULL;
}

void
concierge_handle_detach_disk(void *ctx, struct ipc_call *call,
                             const ProtobufCMessage *message)
{
    const detach_t *rq = (const detach_t *)message;
    struct concierge *c = ctx;
    struct concierge_vm *vm = NULL;
    struct hotplug_call *hc = NULL;
    struct plugged_disk *disk = NULL;
    struct vmt_err err = {0};
    int r = hotplug_find(c, rq->owner_id, rq->name, HYPERVISOR_CAP_DISK_HOTPLUG, WHAT,
                         &vm, &err);

    if (r == 0)
        disk = find_idle(vm, rq->serial, &err);
    if (disk)
        hc = hotplug_detach(vm, call, &disk->at, (size_t)(disk - vm->hotplug->disks),
                            &err);
    if (!hc) {
        reply_success(call, err.msg);
        return;
    }
    r = c->config.hypervisor->ops->disk_remove(vm->hv, disk->serial, hotplug_on_done, hc);
    hotplug_asked(hc, r);
}
