/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/tool.h - run a program of the distribution on an image. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct vmt_err;

struct tool {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up */
    const int *fds;          /* borrowed; the program has them as 3, 4, ... */
    size_t nfds;
    bool filter;
    int ok_max; /* highest exit code that is a success */
};

/* Run it, without rights, sockets and other descriptors, and wait. Its standard error is
 * in err if it fails. A signal to end kills it.
 * Returns its exit code; -ENOTSUP: it is not installed; -ENOSPC when that is what it
 * says; -EIO: it failed. */
int tool_run(const struct tool *tool, struct vmt_err *err);
