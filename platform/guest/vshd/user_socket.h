/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/user_socket.h - sockets that a session's user connects or listens
 * with. A short-lived process takes the user's ids and makes the socket, so that the
 * kernel judges what may be reached as if the user's own command had tried; it may block,
 * on name look-ups and connections, where vshd may not. */
#pragma once

#include <stdbool.h>

#include "core/vsh/message.h"

struct account;
struct os_loop;
struct user_socket;
struct vmt_err;

struct user_socket_spec {
    const struct account *account;     /* borrowed for the call */
    bool switch_user;                  /* take the account's ids; else keep ours */
    bool listen;                       /* at address; else connect to it */
    const struct vsh_address *address; /* borrowed for the call */
};

/* Runs once, from the loop. fd is non-blocking and the callee's, or -1 and err says why
 * not. bound is where a listener is; borrowed for the call. */
typedef void user_socket_done_fn(void *arg, int fd, const struct vsh_address *bound,
                                 const struct vmt_err *err);

/* Start. arg is borrowed until on_done or free. Returns 0, -EINVAL, -ENOMEM, or why there
 * is no process. */
int user_socket_new(struct os_loop *loop, const struct user_socket_spec *spec,
                    user_socket_done_fn *on_done, void *arg,
                    struct user_socket **ret_socket, struct vmt_err *err);
/* The file of a unix listener is removed now, and also when vshd dies before. Legal from
 * inside on_done; NULL is legal. */
void user_socket_free(struct user_socket *socket);
