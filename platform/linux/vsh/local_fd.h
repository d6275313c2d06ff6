/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/local_fd.h - stdin, stdout and stderr of any kind, without making
 * them non-blocking for everybody else who holds them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum local_kind {
    LOCAL_FILE,   /* always ready and never polled: a file, a block device, /dev/null */
    LOCAL_SOCKET, /* MSG_DONTWAIT */
    LOCAL_OWN,    /* reopened: own open file description, non-blocking */
    LOCAL_SHARED, /* blocking; asked with poll before each small step */
};

struct local_fd {
    int fd;   /* borrowed: 0, 1 or 2 */
    int work; /* the descriptor to use: fd, or an owned reopened one */
    enum local_kind kind;
};

/* Find out how to use fd. Cannot fail: in doubt it is LOCAL_SHARED. */
void local_fd_open(struct local_fd *local, int fd, bool for_writing);
/* Forget the descriptor; with close_fd, also put /dev/null in place of fd, so that its
 * reader or writer learns that we are done with it. */
void local_fd_close(struct local_fd *local, bool close_fd);

/* As read(2) and write(2), but never blocking on a peer: -errno, also -EAGAIN. */
ssize_t local_fd_read(const struct local_fd *local, void *buf, size_t cap);
ssize_t local_fd_write(const struct local_fd *local, const void *data, size_t len);
