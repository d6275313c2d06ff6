/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/worker.h - system calls that may take long, such as mount
 * and sync, run in a forked child: a disk or a server that hangs must not stop PID 1. */
#pragma once

#include <stddef.h>

#include "core/base/err.h"

/* Children that were killed and still hang, because a disk or a server does; with more of
 * them no worker is started. */
#define WORKER_HANGING_MAX 32

struct proc_table;

/* Runs in the child, which has only the descriptors 0 to 2. Returns 0 or a negative errno
 * with err set. */
typedef int worker_fn(void *arg, struct vmt_err *err);

/* Runs from the loop, exactly once. status is what the worker returned; -ETIMEDOUT; -EIO
 * when the child died. err is borrowed, and set when status is negative. */
typedef void worker_done_fn(void *arg, int status, const struct vmt_err *err);

struct worker_spec {
    worker_fn *fn;
    void *fn_arg; /* copied by fork; borrowed for the call only */
    /* What fn finds out: the child's result_bytes at this place come here before on_done,
     * unless the child did not come to its end. NULL: nothing; borrowed until on_done. */
    void *result;
    size_t result_bytes;
    unsigned timeout_ms; /* then the child is killed and left to itself */
    worker_done_fn *on_done;
    void *arg; /* borrowed until on_done */
};

/* Returns 0, -ENOMEM, -EAGAIN (no more processes, or too many that hang). */
int worker_start(struct proc_table *table, const struct worker_spec *spec,
                 struct vmt_err *err);
