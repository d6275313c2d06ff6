/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/adopt.c - VMs that outlived an earlier daemon. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/record_internal.h"
#include "core/concierge/snapshot_internal.h"

#define LEFTOVERS_MAX 8

static void
on_leftover_exit(void *arg, const struct spawn_exit *how)
{
    (void)arg;
    (void)how;
}

/* A daemon that died between a start and the next record left processes that no record
 * names; the runtime directory in their command line gives them away. One that is
 * watched ends by the usual way. */
static void
kill_leftovers(struct concierge *c, const char *run_dir, int32_t watched_pid)
{
    struct host *host = c->config.host;
    struct spawn *spawn = c->config.spawn;
    struct spawn_id ids[LEFTOVERS_MAX];
    size_t n = host->files->dir_users(host, run_dir, NULL, ids, VMT_ARRAY_SIZE(ids));

    for (size_t i = 0; i < n; i++) {
        struct spawn_child *child = NULL;

        if (ids[i].pid == watched_pid)
            continue;
        if (spawn->ops->adopt(spawn, &ids[i], on_leftover_exit, NULL, &child, NULL) < 0)
            continue;
        vmt_log_warning("killing a process that nobody looks after pid=%d dir=%s",
                        ids[i].pid, run_dir);
        (void)spawn->ops->kill(child, SIGKILL);
        spawn->ops->release(child);
    }
}

static int
adopt_hypervisor(struct concierge_vm *vm, struct vmt_err *err)
{
    struct hypervisor *hv = vm->c->config.hypervisor;

    if (!vm->hv_id.pid || !vm->run_dir)
        return vmt_err_set(err, ESRCH, "it had no hypervisor yet");
    if (!(hv->ops->caps & HYPERVISOR_CAP_ADOPT))
        return vmt_err_setx(err, ENOTSUP, "%s cannot take a VM over", hv->ops->name);
    return hv->ops->adopt(hv, vm->run_dir, &vm->hv_id, &vm_hypervisor_events, vm, &vm->hv,
                          err);
}

static int
adopt_companion(struct concierge_vm *vm, struct vmt_err *err)
{
    struct spawn *spawn = vm->c->config.spawn;
    int r = spawn->ops->adopt(spawn, &vm->companion_id, vm_on_companion_exit, vm,
                              &vm->companion, err);

    return r < 0 && vm_companion_survives(vm) ? 0 : r;
}

/* Where the earlier daemon had got to. */
static enum vm_state
state_of(const struct concierge_vm *vm)
{
    if (vm->was_running)
        return vm->power.cause ? VM_SUSPENDED : VM_RUNNING;
    return vm->times.ready ? VM_CONFIGURING : VM_BOOTING;
}

static void
go_on(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;

    vm->times.launch = clock->ops->now_us(clock);
    vm->progress_ms = clock->ops->now_ms(clock);
    vm->state = state_of(vm);
    vmt_log_notice("vm taken over, %s pid=%d vm=%s cid=%u", vm_state_name(vm->state),
                   vm->hv_id.pid, vm->key, vm->cid);
    console_watch(vm->c);
    vm_cpu_adopt(vm);
    if (vm->life.asked) {
        vm_stop_asked(vm);
        return;
    }
    if (vm->state == VM_RUNNING)
        balloons_watch(vm);
    if (vm->state == VM_RUNNING)
        storage_watch(vm);
    if (vm->state == VM_BOOTING)
        vm_watch_boot(vm);
    if (vm->state == VM_CONFIGURING)
        vm_act_configure(vm);
}

/* The processes are ended by the same steps as after any other failure. */
static void
clean_up(struct concierge_vm *vm, const struct vmt_err *why)
{
    vmt_log_notice("vm of an earlier daemon is cleaned up: %s vm=%s cid=%u", why->msg,
                   vm->key, vm->cid);
    vm_blame(vm, "%s", why->msg);
    vm->life.lost = !vm->hv;
    vm->state = vm->hv ? VM_RUNNING : VM_SPAWNING;
    if (!vm->hv && vm->run_dir)
        kill_leftovers(vm->c, vm->run_dir, vm->companion ? vm->companion_id.pid : 0);
    vm_post(vm, vm->hv ? VM_EV_FAILED : VM_EV_EXIT);
}

static void
adopt(struct concierge_vm *vm)
{
    struct vmt_err err = {0}, companion_err = {0};
    int r;

    vm_insert(vm);
    r = adopt_hypervisor(vm, &err);
    if (adopt_companion(vm, &companion_err) < 0 && r == 0) {
        r = -ESRCH;
        err = companion_err;
        (void)vmt_err_wrap(&err, r, "the vsock device (vm_vsock) is gone");
    }
    if (r == 0)
        r = vm_connect(vm, &err);
    if (r < 0)
        clean_up(vm, &err);
    else
        go_on(vm);
}

static void
on_record(void *arg, const char *name)
{
    struct concierge *c = arg;
    struct host *host = c->config.host;
    struct concierge_vm *vm = NULL;
    struct vmt_err err = {0};
    int r;

    if (!record_is_of_a_vm(name))
        return;
    r = vm_record_load(c, name, &vm, &err);
    if (r == 0) {
        if (vm)
            adopt(vm);
        return;
    }
    vmt_log_error("vm record not read: %s", err.msg);
    if (r == -EBADMSG || r == -EINVAL)
        host->store->remove(host, name);
}

/* A daemon that died right after it made a directory left no record of it. */
static void
on_dir(void *arg, const char *path)
{
    struct concierge *c = arg;
    struct host *host = c->config.host;
    struct vmt_err err = {0};

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (vm->run_dir && strcmp(vm->run_dir, path) == 0)
            return;
    }
    vmt_log_notice("removing a directory of no VM dir=%s", path);
    kill_leftovers(c, path, 0);
    if (host->files->dir_remove(host, path, &err) < 0)
        vmt_log_warning("directory not removed: %s", err.msg);
}

void
concierge_adopt(struct concierge *c)
{
    struct host *host = c->config.host;
    struct vmt_err err = {0};

    templates_clean(c);
    snapshots_clean(c);
    if (host->store->each(host, on_record, c, &err) < 0)
        vmt_log_error("records of earlier VMs not read: %s", err.msg);
    else if (host->files->dir_each(host, on_dir, c, &err) < 0)
        vmt_log_error("directories of earlier VMs not found: %s", err.msg);
    network_start(c);
    disks_adopt(c);
    cpu_shares_sweep(c);
}
