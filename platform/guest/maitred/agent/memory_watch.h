/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/memory_watch.h - see programs being killed for lack of
 * memory, and waiting for it. */
#pragma once

#include <stdint.h>

struct memory_watch;
struct os_loop;
struct proc_table;
struct vmt_err;

/* The kernel killed processes in a control group of a program of ours; group is "" for
 * anywhere else. */
typedef void memory_killed_fn(void *arg, const char *group, uint64_t killed);
/* Programs waited for memory, in permille of 2 s: at least one of them, and all of them.
 * Told at most every 10 s. */
typedef void memory_pressure_fn(void *arg, unsigned some, unsigned full);

struct memory_watch_config {
    struct os_loop *loop;     /* borrowed */
    struct proc_table *procs; /* borrowed */
    memory_killed_fn *on_killed;
    memory_pressure_fn *on_pressure;
    void *arg; /* borrowed */
};

/* Begin with what the kernel has: the memory controller must have been handed down.
 * Without PSI there is no word of pressure, and kills outside of our groups are told with
 * the next one inside. Returns 0, -ENOMEM, -errno. */
int memory_watch_new(const struct memory_watch_config *config,
                     struct memory_watch **ret_watch, struct vmt_err *err);
void memory_watch_free(struct memory_watch *watch);
