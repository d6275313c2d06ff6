/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/stream_fd.h - struct stream over a socket, pipe or terminal. */
#pragma once

#include "core/adapter/stream.h"

struct os_loop;
struct vmt_err;

/* Take over fd (made non-blocking). Sockets, pipes, character devices; not regular files,
 * which epoll refuses. peer may be NULL: then SO_PEERCRED or the AF_VSOCK peer address is
 * asked. Returns 0; on failure fd is still the caller's. */
int os_stream_new(struct os_loop *loop, int fd, const struct stream_peer *peer,
                  struct stream **ret_stream, struct vmt_err *err);

/* The same with a separate descriptor for writing (stdin and stdout). */
int os_stream_new_pair(struct os_loop *loop, int read_fd, int write_fd,
                       struct stream **ret_stream, struct vmt_err *err);

/* Two connected streams in one process, for tests and in-process peers. */
int os_stream_pair(struct os_loop *loop, struct stream *ret_streams[2],
                   struct vmt_err *err);
