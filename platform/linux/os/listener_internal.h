/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/listener_internal.h - a listener that chooses whom it lets in. */
#pragma once

#include <stdbool.h>

#include "platform/linux/os/unix_socket.h"

struct sockaddr;

/* Decide about a connection by its kernel-given address before anything is read from it.
 * Fills *ret_peer and returns true, or returns false: the connection is closed. */
typedef bool os_admit_fn(void *arg, const struct sockaddr *from,
                         struct stream_peer *ret_peer);

/* As os_listener_new; admit shares arg with fn. */
int os_listener_new_admitting(struct os_loop *loop, int fd, os_admit_fn *admit,
                              os_accept_fn *fn, void *arg,
                              struct os_listener **ret_listener);
