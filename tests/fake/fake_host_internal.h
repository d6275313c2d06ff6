/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_host_internal.h - what the files of the fake host share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/host.h"
#include "core/adapter/host_handover.h"
#include "core/base/list.h"

struct fake_disks;

/* A directory, image, log, group or record; a process that uses a directory. */
struct fake_entry {
    struct vmt_list node;
    char *name;
    char *data;
    size_t len;
};

/* The host; what its parts keep. */
struct fake_host {
    struct host base;
    struct vmt_list dirs, images, logs, records, users, groups;
    struct host_memory memory;
    int groups_error, group_removals_busy;
    uint32_t cpu_limit;
    uint64_t resident, free_bytes;
    struct fake_disks *disks;
    unsigned next_dir, skip, trims, randoms;
    int error;
    bool failed;
    char server[64], domain[64], zone[64];
    char l1tf[128];
};

struct fake_host *fake_host_of(const struct host *host);

struct fake_entry *fake_entry_find(struct vmt_list *list, const char *name);
struct fake_entry *fake_entry_add(struct vmt_list *list, const char *name);
/* The one that is there, or a new one. */
struct fake_entry *fake_entry_put(struct vmt_list *list, const char *name);
void fake_entry_drop(struct fake_entry *e); /* NULL is legal */
/* A copy of data, with a NUL behind it. */
void fake_entry_set(struct fake_entry *e, const void *data, size_t len);
size_t fake_entries(const struct vmt_list *list);
int fake_null_fd(void); /* the caller's */

extern const struct host_log_ops fake_host_logs;
extern const struct host_store_ops fake_host_store;
extern const struct host_memory_ops fake_host_memory;
extern const struct host_cgroup_ops fake_host_cgroups;
extern const struct host_reclaim_ops fake_host_reclaim;
extern const struct host_space_ops fake_host_space;
extern const struct host_handover_ops fake_host_handover;
