/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/teardown.h - leave every file system clean. */
#pragma once

struct vmt_err;

/* Swap off, unmount what can be unmounted, free loop devices, the rest read-only, sync.
 * A worker_fn: it may hang on a dead disk or server. arg is not used. Returns 0; what
 * stayed busy is logged. */
int teardown_run(void *arg, struct vmt_err *err);
