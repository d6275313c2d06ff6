/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/companion.c - the vsock device of a VM, while the VM runs.
 *
 * It is two processes: a keeper, which we start, and its worker, which serves the guest.
 * The keeper replaces a worker that dies, and we do not hear of it. A keeper that dies
 * leaves a worker that goes on: then the VM has lost nothing, and we watch the worker. A
 * worker that serves no machine ends with its keeper: then a new pair begins. */
#include <signal.h>
#include <stdio.h>

#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"

/* In the command line of a worker, and of nothing else. */
#define WORKER_MARK "--journal-fd="

#define REPLACED_MAX 3u /* of one VM: one that always dies is no use */

#define WORKERS_MAX 4 /* one, and another for a moment while it is replaced */

static bool
adopt_worker(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;
    struct spawn *spawn = vm->c->config.spawn;
    struct spawn_id ids[WORKERS_MAX];
    size_t n = 0;

    if (vm->run_dir)
        n = host->files->dir_users(host, vm->run_dir, WORKER_MARK, ids,
                                   VMT_ARRAY_SIZE(ids));
    for (size_t i = 0; i < n; i++) {
        vm->companion_id = ids[i];
        if (spawn->ops->adopt(spawn, &ids[i], vm_on_companion_exit, vm, &vm->companion,
                              NULL) == 0)
            return true;
    }
    vm->companion_id.pid = 0;
    return false;
}

bool
vm_companion_survives(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (!adopt_worker(vm))
        return false;
    if (vm->state == VM_RELEASING) { /* it would end by itself, only later */
        (void)vm->c->config.spawn->ops->kill(vm->companion, SIGKILL);
        return true;
    }
    vmt_log_warning("vm_vsock lost its keeper, its worker goes on alone pid=%d vm=%s "
                    "cid=%u",
                    vm->companion_id.pid, vm->key, vm->cid);
    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("the vsock device is not remembered: %s vm=%s", err.msg, vm->key);
    return true;
}

/* Without a device in the machine it takes nothing along: the next one serves that, when
 * it is plugged in. */
static bool
is_replaced(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (!vm_snapshot_has_no_vsock(vm) && !vm_warm_has_no_vsock(vm))
        return false;
    if (vm->companions_replaced == REPLACED_MAX)
        return false;
    vm->companions_replaced++;
    if (vm_start_companion(vm, &err) < 0) {
        vmt_log_warning("vm_vsock is not replaced: %s vm=%s", vmt_err_text(&err),
                        vm->key);
        return false;
    }
    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("the vsock device is not remembered: %s vm=%s", err.msg, vm->key);
    vmt_log_warning(
        "vm_vsock died while no device was plugged in, another takes its place "
        "vm=%s cid=%u",
        vm->key, vm->cid);
    return true;
}

/* The last line that a process wrote, for a sentence. */
static void
last_words(struct concierge_vm *vm, const char *path, char *buf, size_t cap)
{
    struct host *host = vm->c->config.host;
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    size_t len = 0, from;

    buf[0] = '\0';
    if (!path || host->logs->tail(host, path, 512, &data, &len, NULL) < 0)
        return;
    while (len > 0 && data[len - 1] == '\n')
        len--;
    for (from = len; from > 0 && data[from - 1] != '\n';)
        from--;
    (void)vmt_log_escape(buf, cap, data + from, len - from);
}

void
vm_on_companion_exit(void *arg, const struct spawn_exit *how)
{
    struct concierge_vm *vm = arg;
    char words[256], status[48] = "nobody knows how";

    /* A keeper that ends as it should has seen its worker's end. */
    bool in_peace =
        vm->state == VM_RELEASING && how->kind == SPAWN_EXIT_CODE && how->code == 0;

    vm->companion = NULL;
    vm->companion_id.pid = 0;
    if (!in_peace && vm_companion_survives(vm))
        return;
    if (vm->state == VM_RELEASING) {
        vm_post(vm, VM_EV_COMPANION_EXIT);
        return;
    }
    if (is_replaced(vm))
        return;
    if (how->kind == SPAWN_EXIT_CODE)
        (void)snprintf(status, sizeof(status), "exit code %d", how->code);
    else if (how->kind == SPAWN_EXIT_SIGNAL)
        (void)snprintf(status, sizeof(status), "signal %d", how->code);
    last_words(vm, vm->companion_log, words, sizeof(words));
    vmt_log_error("vm_vsock died, the VM is stopped: %s%s%s vm=%s cid=%u", status,
                  *words ? ": " : "", words, vm->key, vm->cid);
    vm->life.device = true;
    vm_fail(vm, "the vsock device (vm_vsock) of the VM died, %s%s%s", status,
            *words ? ": " : "", words);
}
