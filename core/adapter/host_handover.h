/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/host_handover.h - descriptors that a child process opens for us. */
#pragma once

#include <stddef.h>

struct host;
struct vmt_err;

/* A way for one process that spawn_spec.call runs in: its end has to be among
 * spawn_spec.fds, under its own number. */
struct host_handover_ops {
    /* Make the two ends; both are the caller's, to be closed by host_file_ops.close.
     * Returns 0 or -errno. */
    int (*make)(struct host *host, int *ret_ours, int *ret_childs, struct vmt_err *err);
    /* In the child: hand data over, and a descriptor, which is taken in any case; below
     * 0: none. Returns 0 or -errno. */
    int (*give)(struct host *host, int childs, const void *data, size_t len, int fd);
    /* Take the next thing that was given, of exactly len bytes. Never waits. *ret_fd is
     * the caller's, -1 when none came. Returns 0, -ENODATA when nothing is there,
     * -EBADMSG when it is of another size, -errno. */
    int (*take)(struct host *host, int ours, void *data, size_t len, int *ret_fd);
};
