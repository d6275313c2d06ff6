/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/plan_files.c - files of a plan that are opened by a child process. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"

int
plan_file_add(struct start_plan *plan, const struct opening_file *file, int target,
              struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = file->kind == OPENING_AGAIN ? file->fd : -1;
    VMT_CLEANUP(vmt_freep) char *name = file->name ? strdup(file->name) : NULL;
    struct plan_file *at = &plan->files[plan->nfiles];

    if (plan->nfiles == OPENING_FILES_MAX)
        return vmt_err_setx(err, E2BIG, "there are too many files to open");
    if (file->name && !name)
        return vmt_err_set(err, ENOMEM, "plan the files");
    *at = (struct plan_file){.file = *file, .target = target};
    at->file.name = vmt_take_ptr(&name);
    at->file.fd = vmt_take_fd(&fd);
    plan->nfiles++;
    return 0;
}

void
plan_files_done(struct start_plan *plan)
{
    for (size_t i = 0; i < plan->nfiles; i++) {
        free((char *)(uintptr_t)plan->files[i].file.name);
        if (plan->host)
            plan->host->files->close(plan->host, plan->files[i].file.fd);
    }
    plan->nfiles = 0;
}

static int *
slot_of(struct start_plan *plan, int target)
{
    switch (target) {
    case PLAN_KERNEL:
        return &plan->kernel_fd;
    case PLAN_INITRD:
        return &plan->initrd_fd;
    case PLAN_FIRMWARE:
        return &plan->firmware_fd;
    case PLAN_PFLASH:
        return &plan->pflash_fd;
    default:
        return &plan->blocks[target].fd;
    }
}

/* Put what was opened where it belongs. What may be missing leaves its place alone. */
static int
place_all(struct start_plan *plan, int *fds, struct vmt_err *err)
{
    for (size_t i = 0; i < plan->nfiles; i++) {
        int target = plan->files[i].target, *slot = slot_of(plan, target);

        if (fds[i] < 0)
            continue;
        if (target == PLAN_PFLASH && *slot > 0)
            return vmt_err_setx(err, EEXIST,
                                "firmware variables are installed for this VM; do not "
                                "send others");
        *slot = vmt_take_fd(&fds[i]);
    }
    return 0;
}

static void
on_opened(void *arg, int *fds, const struct vmt_err *cause)
{
    struct concierge_vm *vm = arg;
    struct vmt_err err = {0};

    vm->opening = NULL;
    if (!fds) {
        vm_fail(vm, "%s", cause->msg);
        return;
    }
    if (place_all(&vm->plan, fds, &err) < 0) {
        vm_fail(vm, "%s", err.msg);
        return;
    }
    plan_files_done(&vm->plan);
    vm->on_files(vm);
}

void
vm_open_files(struct concierge_vm *vm, const struct ipc_caller *caller,
              void (*next)(struct concierge_vm *vm))
{
    struct opening_file files[OPENING_FILES_MAX];
    const struct opening_request request = {
        .owner = vm->id.owner, .caller = caller, .files = files, .n = vm->plan.nfiles};
    struct vmt_err err = {0};

    if (vm->plan.nfiles == 0) {
        next(vm);
        return;
    }
    for (size_t i = 0; i < vm->plan.nfiles; i++)
        files[i] = vm->plan.files[i].file;
    vm->on_files = next;
    if (opening_start(vm->c, &request, on_opened, vm, &vm->opening, &err) < 0)
        vm_fail(vm, "%s", err.msg);
}
