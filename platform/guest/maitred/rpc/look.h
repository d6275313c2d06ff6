/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/look.h - calls that look at a mounted file system: a worker
 * does, since a disk or server that does not answer must not hold PID 1 up. */
#pragma once

#include <stdint.h>

#include "platform/guest/maitred/rpc/filesystem.h"

struct agent;
struct rpc_server_call;
struct vmt_err;

/* The host waits 20 s for most of these calls. */
#define LOOK_TIMEOUT_MS 10000u

/* One call under way. What the worker finds stands in found. */
struct look {
    struct agent *agent;                /* borrowed */
    struct rpc_server_call *call;       /* finished by who looks */
    char serial[FILESYSTEM_SERIAL_MAX]; /* of the disk; "": the stateful one */
    uint64_t wanted;                    /* bytes, of a resize */
    struct look_found {
        struct filesystem fs;
        uint64_t size, min;        /* bytes; see filesystem_size */
        uint64_t total, available; /* bytes; of statvfs */
    } found;
};

/* The functions that look: worker_fn, with a struct look. */
int look_at_size(void *arg, struct vmt_err *err);
int look_at_space(void *arg, struct vmt_err *err);          /* of a disk */
int look_at_stateful_space(void *arg, struct vmt_err *err); /* of STATEFUL_DIR */

/* Start fn in a worker for a call. on_done (a worker_done_fn) gets the struct look, which
 * it frees. When that cannot be started the call has failed, and -errno is returned. */
int look_start(struct agent *agent, struct rpc_server_call *call,
               const struct look *question, int (*fn)(void *arg, struct vmt_err *err),
               void (*on_done)(void *arg, int status, const struct vmt_err *err));

/* Fail the call for what a worker said. */
void look_fail(struct rpc_server_call *call, int status, const struct vmt_err *err);
