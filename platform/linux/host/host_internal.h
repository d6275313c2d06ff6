/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/host_internal.h - shared by the files of this room. */
#pragma once

#include "platform/linux/host/host.h"

struct linux_host {
    struct host base;
    char *run_root;     /* owned */
    char *record_dir;   /* owned */
    char *state_dir;    /* owned */
    char *disk_dir;     /* owned */
    char *progress_dir; /* owned */
};

/* Logs outlive their VMs, but not for ever: of the files in dir, the newest keep stay. */
void linux_host_prune_logs(const char *dir, size_t keep);

/* What the resolver uses, from the file that it reads, and, if that names the stub of
 * systemd-resolved, from the file where it says whom it asks. */
void linux_host_read_dns(const char *resolv, const char *resolved,
                         struct host_dns *ret_dns);
/* The time zone by the target of link, else by the text of file; "" if neither says. */
void linux_host_read_zone(const char *link, const char *file, char *buf, size_t cap);

extern const struct host_fact_ops linux_host_facts;
extern const struct host_file_ops linux_host_files;
extern const struct host_log_ops linux_host_logs;
extern const struct host_store_ops linux_host_store;
extern const struct host_state_ops linux_host_state;
extern const struct host_memory_ops linux_host_memory;
extern const struct host_disk_ops linux_host_disks;

/* disk_progress.c: slots of linux_host_disks. */
int linux_host_progress_path(struct host *host, const char *name, char **ret_path,
                             struct vmt_err *err);
int linux_host_progress_each(struct host *host, void (*fn)(void *arg, const char *name),
                             void *arg, struct vmt_err *err);
void linux_host_progress_remove(struct host *host, const char *name);
int linux_host_progress_writer(struct host *host, const char *name,
                               struct spawn_id *ret_id);
