/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsh/server.h - one session of the vsock shell as its server sees it: bytes in,
 * bytes and events out. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/vsh/message.h"

struct vsh_server;

/* All run from inside vsh_server_receive, but send, which any call may run. None may free
 * the server. */
struct vsh_server_ops {
    /* One whole frame. Returns 0 or -errno, which is passed on. */
    int (*send)(void *arg, const uint8_t *frame, size_t len);
    /* The first frame; borrowed for the call. Answered by vsh_server_ready or
     * vsh_server_refuse, now or later. */
    void (*on_request)(void *arg, const struct vsh_request *request);
    /* len 0: end of stdin. May come before the request was answered. */
    void (*on_stdin)(void *arg, const uint8_t *data, size_t len);
    void (*on_resize)(void *arg, int32_t rows, int32_t cols);
    void (*on_signal)(void *arg, int sig); /* a number of 1..31 */
    /* The peer says that it is done (reason NULL), or broke the protocol. Nothing comes
     * after this. */
    void (*on_end)(void *arg, const char *reason);
};

/* ops and arg are borrowed for the life of the server. Returns 0 or -ENOMEM. */
int vsh_server_new(const struct vsh_server_ops *ops, void *arg,
                   struct vsh_server **ret_server);
void vsh_server_free(struct vsh_server *server);

/* Bytes from the client. After the end they are dropped. */
void vsh_server_receive(struct vsh_server *server, const uint8_t *data, size_t len);

/* Answer the request: the command runs as pid (0: there is none) and the listeners of the
 * request are where listening says, NULL without any; or text says why not (exit_code:
 * see vsh_response; a long text is cut). Return 0 or what send returned. What the client
 * asked for and VSH_FEATURES has holds from now on. */
int vsh_server_ready(struct vsh_server *server, int32_t pid,
                     const struct vsh_address *listening, size_t nlistening);
int vsh_server_refuse(struct vsh_server *server, int32_t exit_code, const char *text);

/* The most output that one frame takes: VSH_DATA_MAX or VSH_LARGE_DATA_MAX. */
size_t vsh_server_output_max(const struct vsh_server *server);
/* Output of the command, 0 to vsh_server_output_max bytes, 0: it closed the stream. The
 * VSH_DATA_HEAD bytes before data are written to. Returns 0, -EMSGSIZE, or what send
 * returned. */
int vsh_server_output(struct vsh_server *server, enum vsh_stream stream, uint8_t *data,
                      size_t len);

/* Somebody connected to the request's listener: whoever presents token, VSH_TOKEN_BYTES,
 * gets it. Returns 0, -ENOTSUP when the client does not know of it, or what send
 * returned. */
int vsh_server_accepted(struct vsh_server *server, uint32_t listener,
                        const uint8_t *token);
/* One session of the list. Returns 0, -EMSGSIZE, or what send returned. */
int vsh_server_session(struct vsh_server *server, const struct vsh_session_info *info);

/* The command ended: the last frame. */
int vsh_server_exited(struct vsh_server *server, int32_t code, const char *text);
