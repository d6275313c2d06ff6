/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/host_internal.h - shared by the files of this room. */
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include "platform/linux/host/host.h"

/* Where the groups of VMs are. */
struct linux_cgroups {
    bool asked;
    int error;  /* why there are none, as -errno; 0 once asked: there are */
    char *why;  /* owned; words for it */
    char *tree; /* owned; absolute path of the group that holds those of the VMs */
    bool has_weight;
};

struct linux_host {
    struct host base;
    char *run_root;     /* owned */
    char *record_dir;   /* owned */
    char *state_dir;    /* owned */
    char *disk_dir;     /* owned */
    char *progress_dir; /* owned */
    char *sys_root;     /* owned; "" usually */
    struct linux_cgroups cgroups;
};

#define LINUX_HOST_TEXT_MAX 8192

/* The begin of a small file below sys_root, NUL-terminated; "" when it cannot be read.
 * Without malloc: this runs every second. */
void linux_host_read_text(const struct linux_host *self, const char *path,
                          char text[LINUX_HOST_TEXT_MAX]);
/* The number after a word at the begin of a line; 0 when there is none. */
uint64_t linux_host_number_after(const char *text, const char *word);

/* The cgroup (version 2) that the daemon is in, as a path below sys_root, and how long
 * the part of it is that names the mount. Returns 0, -ENOENT or -ENAMETOOLONG. */
int linux_host_own_cgroup(const struct linux_host *self, char *path, size_t cap,
                          size_t *ret_mount_len);
/* Visit that group and those above it, up to the mount; fn gets the path of each. */
void linux_host_cgroups_up(const struct linux_host *self,
                           void (*fn)(void *arg, const struct linux_host *self,
                                      const char *path),
                           void *arg);
/* Lower total and available to what the daemon's groups allow. */
void linux_host_memory_limit(const struct linux_host *self, struct host_memory *memory);

/* What is known here of the file of a descriptor that a caller sent: kind, mode, owner,
 * device, inode, and size and times as they were heard of last. Unlike fstat(2) it asks
 * no server of a network file system or of FUSE, which may never answer. Returns 0,
 * or -1 and errno. */
int linux_host_look(int fd, struct stat *ret_st);

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
extern const struct host_cgroup_ops linux_host_cgroups;
extern const struct host_reclaim_ops linux_host_reclaim;
extern const struct host_space_ops linux_host_space;
extern const struct host_device_ops linux_host_devices;
extern const struct host_disk_ops linux_host_disks;

/* disk_progress.c: slots of linux_host_disks. */
int linux_host_progress_path(struct host *host, const char *name, char **ret_path,
                             struct vmt_err *err);
int linux_host_progress_each(struct host *host, void (*fn)(void *arg, const char *name),
                             void *arg, struct vmt_err *err);
void linux_host_progress_remove(struct host *host, const char *name);
int linux_host_progress_writer(struct host *host, const char *name,
                               struct spawn_id *ret_id);
