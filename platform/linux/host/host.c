/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/host/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"

/* Mostly of a MiB; a VM that talks much has several. */
#define LOG_FILES_MAX 400

static void
self_free(struct linux_host *self)
{
    if (!self)
        return;
    free(self->run_root);
    free(self->record_dir);
    free(self->state_dir);
    free(self->disk_dir);
    free(self->progress_dir);
    free(self->sys_root);
    free(self->cgroups.why);
    free(self->cgroups.tree);
    free(self);
}
VMT_DEFINE_FREEP(struct linux_host, self_free)

int
linux_host_new(const struct linux_host_config *config, struct host **ret_host,
               struct vmt_err *err)
{
    VMT_CLEANUP(self_freep) struct linux_host *self = calloc(1, sizeof(*self));
    int r;

    if (!self)
        return vmt_err_set(err, ENOMEM, "look after the host");
    self->base.facts = &linux_host_facts;
    self->base.files = &linux_host_files;
    self->base.logs = &linux_host_logs;
    self->base.store = &linux_host_store;
    self->base.state = &linux_host_state;
    self->base.memory = &linux_host_memory;
    self->base.cgroups = &linux_host_cgroups;
    self->base.reclaim = &linux_host_reclaim;
    self->base.space = &linux_host_space;
    self->base.handover = &linux_host_handover;
    self->sys_root = strdup(config->sys_root ? config->sys_root : "");
    self->base.devices = &linux_host_devices;
    self->base.disks = &linux_host_disks;
    self->run_root = strdup(config->run_root);
    self->record_dir = strdup(config->record_dir);
    self->state_dir = strdup(config->state_dir);
    self->disk_dir = strdup(config->disk_dir);
    if (asprintf(&self->progress_dir, "%s/disk-operations", config->run_root) < 0)
        self->progress_dir = NULL;
    if (!self->sys_root || !self->run_root || !self->record_dir || !self->state_dir ||
        !self->disk_dir || !self->progress_dir)
        return vmt_err_set(err, ENOMEM, "look after the host");
    r = os_mkdir_p(config->record_dir, 0700, err);
    if (r == 0)
        r = os_mkdir_p(self->progress_dir, 0700, err);
    if (r == 0)
        r = os_mkdir_p(config->disk_dir, 0700, err);
    if (r == 0)
        r = os_mkdir_p(config->log_dir, 0700, err);
    if (r < 0)
        return r;
    linux_host_prune_logs(config->log_dir, LOG_FILES_MAX);
    *ret_host = &vmt_take_ptr(&self)->base;
    return 0;
}

void
linux_host_free(struct host *host)
{
    if (host)
        self_free(VMT_CONTAINER_OF(host, struct linux_host, base));
}
