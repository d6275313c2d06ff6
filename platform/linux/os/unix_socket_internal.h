/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/unix_socket_internal.h - connecting without ever blocking. */
#pragma once

#include "platform/linux/os/unix_socket.h"

/* As os_unix_connect, with a non-blocking descriptor. Returns -EAGAIN when the listener's
 * backlog is full: try again later. */
int os_unix_connect_nonblock(const char *path, int *ret_fd, struct vmt_err *err);
