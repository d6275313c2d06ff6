/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/stream_fd_internal.h - bytes and descriptors over one descriptor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/limits.h"

/* How a descriptor wants to be read and written. */
enum os_io_kind {
    OS_IO_FILE,   /* pipe, terminal, device: read and write */
    OS_IO_SOCKET, /* recv and send */
    OS_IO_UNIX,   /* recvmsg and sendmsg: descriptors may come along */
};

/* Descriptors that were received, oldest first. */
struct os_io_fds {
    int fd[VMT_FDS_MAX]; /* owned */
    size_t n;
};

/* Read once into buf. Appends descriptors that came along to fds. Returns bytes, 0 at the
 * end (also for the EIO of a pseudo-terminal whose other side is closed), -EAGAIN,
 * -EMSGSIZE when the peer sent more descriptors than fit (those are closed), -errno. */
ssize_t os_io_read(enum os_io_kind kind, int fd, void *buf, size_t cap,
                   struct os_io_fds *fds);

/* Write once. send_fds travel with the first byte; OS_IO_UNIX only. Returns bytes,
 * -EAGAIN, -errno. */
ssize_t os_io_write(enum os_io_kind kind, int fd, const void *data, size_t len,
                    const struct os_io_fds *send_fds);

/* Duplicate n descriptors, close-on-exec. Returns 0 or -errno, then ret is empty. */
int os_io_fds_dup(const int *fds, size_t n, struct os_io_fds *ret);
void os_io_fds_close(struct os_io_fds *fds);
