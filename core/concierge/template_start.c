/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/template_start.c - start a VM from a template: restore, plug in what is
 * the VM's own while the guest stands still, let it go on. Whatever fails before the
 * guest reports ready costs the template, and the VM boots instead; its client sees one
 * start. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"

void
vm_warm_free(struct vm_warm *warm)
{
    if (!warm)
        return;
    template_shape_free(warm->shape);
    free(warm->title);
    free(warm);
}

/* The builder's own descriptors: those of the plan are closed when the VM has started. */
static int
keep_images(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    struct template_shape *shape = vm->warm->shape;
    const struct {
        int from, *to;
    } images[] = {{vm->plan.kernel_fd, &shape->kernel_fd},
                  {vm->plan.initrd_fd, &shape->initrd_fd},
                  {vm->plan.blocks[0].fd, &shape->root_fd}};
    int r = 0;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(images) && r == 0; i++)
        if (images[i].from >= 0)
            r = host->files->image_reopen(host, images[i].from, images[i].to, err);
    return r;
}

static void
drop_warm(struct concierge_vm *vm)
{
    vm_warm_free(vmt_take_ptr(&vm->warm));
}

static int
look(struct concierge_vm *vm, struct vmt_err *err)
{
    enum template_found found;
    int fd = -1;
    int r = template_shape_of(vm, &vm->warm->shape, err);

    if (r < 0)
        return r;
    found = template_find(vm->c, vm->warm->shape, &fd);
    if (found == TEMPLATE_READY)
        return fd;
    if (found == TEMPLATE_FAILED)
        return vmt_err_setx(err, ENOTSUP, "its template could not be made");
    r = keep_images(vm, err);
    return r < 0 ? r : -ENOENT;
}

int
vm_warm_prepare(struct concierge_vm *vm)
{
    struct vmt_err err = {0};
    int r;

    if (vm->restore)
        return vm_restore_open(vm);
    vm->start_mode = "cold";
    if (!templates_wanted(vm->c))
        return -1;
    vm->warm = calloc(1, sizeof(*vm->warm));
    if (!vm->warm)
        return -1;
    r = look(vm, &err);
    if (r >= 0) {
        vm->warm->state = WARM_RESTORING;
        vm->start_mode = "warm";
        return r;
    }
    if (r != -ENOENT) {
        vmt_log_debug("no template for this start: %s vm=%s", err.msg, vm->key);
        drop_warm(vm);
    }
    return -1;
}

/* The socket of a vsock device names the directory in the command line of any other: it
 * is how an orphan is found. */
static const char *
title_of(struct concierge_vm *vm)
{
    size_t len = strlen(vm->id.name) + strlen(vm->run_dir) + sizeof(" in ");

    free(vm->warm->title);
    vm->warm->title = malloc(len);
    if (!vm->warm->title)
        return vm->id.name;
    (void)snprintf(vm->warm->title, len, "%s in %s", vm->id.name, vm->run_dir);
    return vm->warm->title;
}

void
vm_warm_apply(struct concierge_vm *vm, int restore_fd, struct vm_spec *spec)
{
    spec->name = title_of(vm);
    if (!vm->restore) {
        spec->cmdline = vm->warm->shape->cmdline;
        spec->ndisks = 1; /* the root image; the others are plugged in */
    }
    spec->vsock = HYPERVISOR_VSOCK_NONE;
    spec->vsock_socket = NULL;
    spec->restore_fd = restore_fd;
}

bool
vm_warm_is_restoring(const struct concierge_vm *vm)
{
    return vm->warm && vm->warm->state != WARM_COLD &&
           (vm->state == VM_SPAWNING || vm->state == VM_BOOTING ||
            vm->state == VM_CONFIGURING);
}

bool
vm_warm_has_no_vsock(const struct concierge_vm *vm)
{
    return vm_warm_is_restoring(vm) && vm->warm->state == WARM_RESTORING &&
           !vm->warm->inherited && !vm->warm->vsock_asked;
}

void
vm_warm_fall_back(struct concierge_vm *vm, const char *why)
{
    if (!vm_warm_is_restoring(vm))
        return;
    if (vm->restore || strcmp(vm->start_mode, "snapshot") == 0) {
        vm_fail(vm, "the snapshot was not restored: %s", why);
        return;
    }
    if (vm->warm->inherited) {
        vm_fail(vm, "the start from a template was cut off and failed: %s", why);
        return;
    }
    vmt_log_warning("the template is of no use, the VM boots: %s vm=%s cid=%u", why,
                    vm->key, vm->cid);
    template_note_failure(vm->c, vm->warm->shape, why);
    vm_post(vm, VM_EV_FALL_BACK);
}

static void
on_resumed(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;
    struct vmt_clock *clock = vm->c->config.clock;

    if (!vm_warm_is_restoring(vm))
        return;
    if (result < 0) {
        vm_warm_fall_back(vm, err ? err->msg : strerror(-result));
        return;
    }
    vm->times.resumed = clock->ops->now_us(clock);
    vm->progress_ms = clock->ops->now_ms(clock);
    vm->warm->state = WARM_RESUMED;
}

static void plug_next(struct concierge_vm *vm);

static void
on_plugged(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    if (!vm_warm_is_restoring(vm))
        return;
    if (result < 0) {
        vm_warm_fall_back(vm, err ? err->msg : strerror(-result));
        return;
    }
    vm->warm->plugged++;
    plug_next(vm);
}

static void
plug_next(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    size_t next = vm->warm->plugged + 1; /* the first one is the root image */
    int r;

    if (next < vm->plan.nblocks && !vm->warm->inherited && !vm->restore)
        r = hv->ops->disk_add(vm->hv, &vm->plan.blocks[next], on_plugged, vm);
    else
        r = hv->ops->pause(vm->hv, false, on_resumed, vm);
    if (r < 0)
        vm_warm_fall_back(vm, strerror(-r));
}

/* An heir does not know how far its predecessor got: a device that is there already is no
 * failure then, and what is missing shows when the guest does not report ready. */
static void
on_vsock(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    if (!vm_warm_is_restoring(vm))
        return;
    if (result < 0 && !vm->warm->inherited)
        vm_warm_fall_back(vm, err ? err->msg : strerror(-result));
    else
        plug_next(vm);
}

void
vm_warm_on_control(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    int r = -ENOMEM;

    if (!vm_warm_is_restoring(vm) || vm->warm->state != WARM_RESTORING)
        return;
    path = vm_vhost_path(vm);
    vm->warm->vsock_asked = true;
    if (path)
        r = hv->ops->vsock_add(vm->hv, path, on_vsock, vm);
    if (r < 0)
        vm_warm_fall_back(vm, strerror(-r));
}

void
vm_warm_done(struct concierge_vm *vm)
{
    if (!vm->warm || vm->warm->state == WARM_COLD)
        return;
    drop_warm(vm);
    vm_cpu_started(vm);
    vm_restore_cancel(vm);
    plan_close_images(&vm->plan);
    network_close_fd(vm);
}

void
vm_warm_on_running(struct concierge_vm *vm)
{
    if (vm->warm && vm->warm->state == WARM_COLD && vm->warm->shape && vm->c->builder)
        template_builder_add(vm->c->builder, vmt_take_ptr(&vm->warm->shape));
    drop_warm(vm);
}

int
vm_warm_inherit(struct concierge_vm *vm, const char *start_mode)
{
    if (strcmp(start_mode, "warm") == 0)
        vm->start_mode = "warm";
    else if (strcmp(start_mode, "snapshot") == 0)
        vm->start_mode = "snapshot";
    else
        return 0;
    if (vm->was_running)
        return 0;
    vm->warm = calloc(1, sizeof(*vm->warm));
    if (!vm->warm)
        return -ENOMEM;
    vm->warm->state = vm->times.ready ? WARM_RESUMED : WARM_RESTORING;
    vm->warm->inherited = true;
    return 0;
}

/* --- actions --- */

void
vm_act_fall_back(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;

    if (vm->hv)
        (void)hv->ops->kill(vm->hv, SIGKILL);
    vm_arm(vm, STOP_STEP_MS);
}

void
vm_act_start_over(struct concierge_vm *vm)
{
    vm_disarm(vm);
    vm_post_later(vm, VM_EV_PROBED);
}
