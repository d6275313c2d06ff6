/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/host.h - struct host on Linux. */
#pragma once

#include "core/adapter/host.h"
#include "core/adapter/host_handover.h"

struct linux_host_config {
    const char *run_root;   /* absolute, exists: VM directories go here */
    const char *record_dir; /* absolute, made if missing: one file per record */
    const char *state_dir;  /* absolute; made when a state is saved */
    const char *log_dir;    /* absolute, made if missing: for logs that outlive a VM */
    const char *disk_dir;   /* absolute, made if missing: a directory per owner */
    const char *sys_root;   /* where /proc and /sys are found below; NULL: / */
};

/* Everything is copied. Old logs in log_dir beyond some hundreds are removed. Returns 0,
 * -ENOMEM or what making the directories gave. */
int linux_host_new(const struct linux_host_config *config, struct host **ret_host,
                   struct vmt_err *err);
void linux_host_free(struct host *host); /* NULL is legal */

/* Of no host in particular. */
extern const struct host_handover_ops linux_host_handover;

/* Give the group that was delegated to a daemon, which has ended, back to the service
 * manager: a process may be started in it again. For a process that the manager started
 * below it. sys_root as above. Returns 0 or -errno. */
int linux_host_release_cgroup(const char *sys_root, struct vmt_err *err);
