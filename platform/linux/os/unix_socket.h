/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/unix_socket.h - unix stream sockets: listen, connect, accept. */
#pragma once

#include <sys/types.h>

struct os_listener;
struct os_loop;
struct stream;
struct stream_peer;
struct vmt_err;

/* A listening socket at path with the given mode, made beside it under a temporary name
 * and renamed over it, so that a connecting peer never meets a half-made one. A path too
 * long for sun_path is reached through its directory's /proc/self/fd entry. Returns 0 and
 * the descriptor, close-on-exec, or -errno. */
int os_unix_listen(const char *path, mode_t mode, int backlog, int *ret_fd,
                   struct vmt_err *err);

/* Connect, blocking only as a local connect does. Returns -ENOENT, -ECONNREFUSED and so
 * on. */
int os_unix_connect(const char *path, int *ret_fd, struct vmt_err *err);

/* Runs for each accepted connection; the callee owns s. peer is borrowed for the call. */
typedef void os_accept_fn(void *arg, struct stream *s, const struct stream_peer *peer);

/* Accept on fd (owned from success on) for as long as the listener lives; on EMFILE and
 * ENFILE accepting pauses for 100 ms. peer overrides what the kernel says when not NULL
 * (copied). */
int os_listener_new(struct os_loop *loop, int fd, const struct stream_peer *peer,
                    os_accept_fn *fn, void *arg, struct os_listener **ret_listener,
                    struct vmt_err *err);
void os_listener_free(struct os_listener *listener);
