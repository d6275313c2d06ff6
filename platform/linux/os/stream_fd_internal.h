/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/stream_fd_internal.h - a stream and its single reads and writes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event_struct.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "core/base/limits.h"
#include "core/base/list.h"

struct os_loop;

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

/* One of the two directions. */
struct stream_side {
    int fd;          /* owned; -1: this direction does not exist (any more) */
    int flags;       /* of F_GETFL before we came, to be put back; -1: leave them */
    bool pollable;   /* false: epoll refuses it (a file, /dev/null), always ready */
    bool watched;    /* ev is pending */
    struct event ev; /* readiness of fd */
};

struct stream_fd {
    struct stream base;
    struct os_loop *loop;                 /* borrowed */
    const struct stream_handler *handler; /* borrowed */
    void *arg;                            /* borrowed */
    struct stream_side in, out;           /* the same fd for a socket; in owns it then */
    struct event wake;                    /* on_end from the loop after a failed write */
    struct vmt_buf queue;
    uint64_t written;       /* bytes ever taken off the queue or sent past it */
    struct vmt_list rights; /* struct stream_rights, ascending by at, owned */
    struct os_io_fds got;   /* arrived, not taken yet */
    struct stream_peer peer;
    enum os_io_kind kind;
    int failed;    /* negative errno of a write that failed */
    unsigned busy; /* callbacks on the stack */
    bool shared;   /* one fd for both directions */
    bool paused;
    bool above_high; /* on_drain is owed */
    bool shut;       /* shutdown_send was called */
    bool shut_done;
    bool ended;  /* on_end ran or the last byte was read */
    bool closed; /* free when the last callback returns */
};

extern const struct stream_ops stream_fd_ops;

/* Event callbacks; arg is the struct stream_fd. */
void stream_on_readable(evutil_socket_t fd, short what, void *arg);
void stream_on_writable(evutil_socket_t fd, short what, void *arg);
void stream_on_wake(evutil_socket_t fd, short what, void *arg);
