/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/group.h - control groups of single programs.
 * Source of all file names: Linux v6.1, Documentation/admin-guide/cgroup-v2.rst. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

#define GROUP_NAME_MAX 96

/* 0 is no limit. */
struct group_limits {
    uint64_t memory_max, memory_high; /* bytes */
    uint64_t pids_max;
    uint32_t cpu_weight; /* 1 to 10000 */
    bool oom_group;      /* the kernel kills all of the group or nothing of it */
};

/* A name for a group made of prefix and any text: what a file name may not have becomes
 * '_', and the end is cut. */
void group_name(char name[GROUP_NAME_MAX], const char *prefix, const char *text);

/* Make the group name in the directory parent, unless it is there, and open it. Returns 0
 * or -errno. */
int group_open(int parent, const char *name, int *ret_fd, struct vmt_err *err);

/* Put limits into force. The controllers that they need are handed down from the group
 * above parent and from parent to its groups; parent must have no process of its own.
 * Returns 0, -ENOENT: the kernel lacks the controller, -errno; the words name the first
 * limit that failed, the others are in force. */
int group_limit(int parent, int fd, const struct group_limits *limits,
                struct vmt_err *err);

/* Hand the controllers for memory, processes and processors down to the groups in parent.
 * What the kernel lacks is left out. */
void group_enable(int parent);

/* Kill every process in the group. Returns 0 or -errno. */
int group_kill(int fd);

/* Remove the group. Returns 0, -EBUSY: something is in it, -errno. */
int group_remove(int parent, const char *name);

/* The number behind key in a file of the group such as memory.events, 0 if there is none.
 */
uint64_t group_count(int fd, const char *file, const char *key);
