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

/* An image in the owner's folder is ours, whoever calls, and locked for the VM as one
 * that it starts with; its name tells the format. */
static int
open_path(struct concierge *c, const struct ipc_caller *caller, const attach_t *rq,
          int *fd, bool *qcow2, struct vmt_err *err)
{
    struct host *host = c->config.host;
    char name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;
    const char *file;

    if (!host->disks->is_inside(host, rq->owner_id, rq->path, &file))
        return host->files->image_open(host, rq->path, rq->writable, caller->uid, fd,
                                       err);
    if (!disk_file_parse(file, name, &kind) || kind == DISK_KIND_PFLASH)
        return vmt_err_setx(err, ENOENT, "disk %s: this is no disk image", rq->path);
    *qcow2 = kind == DISK_KIND_QCOW2;
    return host->disks->open(host, rq->owner_id, file, rq->writable, fd, err);
}

/* The image by the caller's path or descriptor; *fd is the only one that came, or -1, and
 * is replaced by the image's. */
static int
open_image(struct concierge *c, const struct ipc_caller *caller, const attach_t *rq,
           int *fd, struct hypervisor_disk *disk, struct vmt_err *err)
{
    struct host *host = c->config.host;
    bool writable = rq->writable, qcow2 = rq->qcow2;
    int r;

    if ((*fd >= 0) == (*rq->path != '\0'))
        return vmt_err_setx(err, EINVAL,
                            "send either the path of an image or one "
                            "descriptor");
    if (*fd < 0)
        r = open_path(c, caller, rq, fd, &qcow2, err);
    else
        r = host->files->image_check(host, *fd, &writable, err);
    if (r < 0)
        return r;
    *disk = (struct hypervisor_disk){
        .fd = *fd, .read_only = !writable, .qcow2 = qcow2, .block_size = rq->block_size};
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

static void
attach(struct concierge *c, struct ipc_call *call, const attach_t *rq, int *fd)
{
    const struct hypervisor_ops *ops = c->config.hypervisor->ops;
    char serial[HOTPLUG_SERIAL_MAX];
    struct hypervisor_disk disk = {.fd = -1};
    struct concierge_vm *vm = NULL;
    struct hotplug_call *hc = NULL;
    struct vmt_err err = {0};
    int r = hotplug_find(c, rq->owner_id, rq->name, HYPERVISOR_CAP_DISK_HOTPLUG, WHAT,
                         &vm, &err);

    if (r == 0)
        r = choose_serial(vm, rq->serial, serial, &err);
    if (r == 0)
        r = open_image(c, ipc_call_caller(call), rq, fd, &disk, &err);
    if (r == 0)
        hc = prepare_attach(vm, call, serial, &err);
    if (!hc) {
        reply_attach(call, "", err.msg);
        return;
    }
    disk.serial = serial;
    hc->answer = answer_attach;
    r = ops->disk_add(vm->hv, &disk, hotplug_on_done, hc);
    hotplug_asked(hc, r);
}

void
concierge_handle_attach_disk(void *ctx, struct ipc_call *call,
                             const ProtobufCMessage *message)
{
    struct concierge *c = ctx;
    struct host *host = c->config.host;
    int fds[2] = {-1, -1};
    size_t n = ipc_call_take_fds(call, fds, VMT_ARRAY_SIZE(fds));

    if (n > 1)
        reply_attach(call, "", "send one descriptor at most");
    else
        attach(c, call, (const attach_t *)message, &fds[0]);
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
