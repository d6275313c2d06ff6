/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsh/client.h - one session of the vsock shell as its client sees it: bytes in,
 * bytes and events out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/vsh/message.h"

struct vsh_client;
struct vmt_err;

enum vsh_end_kind {
    VSH_END_EXITED,  /* the command ended; code is its exit code */
    VSH_END_REFUSED, /* the session was not set up; code is 126, 127 or 0 */
    VSH_END_BROKEN,  /* the server failed later, or does not speak the protocol */
};

struct vsh_end {
    enum vsh_end_kind kind;
    int code;
    const char *text; /* of the guest: escape it; borrowed for the call, never NULL */
};

/* All run from inside vsh_client_receive, but send, which any call may run. None may free
 * the client. */
struct vsh_client_ops {
    /* One whole frame. Returns 0 or -errno, which is passed on. */
    int (*send)(void *arg, const uint8_t *frame, size_t len);
    /* The command runs; from now on it may be sent stdin. */
    void (*on_ready)(void *arg, int32_t pid);
    /* len 0: the guest closed this stream. */
    void (*on_output)(void *arg, enum vsh_stream stream, const uint8_t *data, size_t len);
    /* Nothing comes after this. Exactly once. */
    void (*on_end)(void *arg, const struct vsh_end *end);
    /* The next three may be NULL. Before on_ready: where the listener of that index in
     * the request is. */
    void (*on_listening)(void *arg, size_t listener, const struct vsh_address *address);
    /* Somebody connected to that listener, see vsh_request.accepted. */
    void (*on_accepted)(void *arg, uint32_t listener, const uint8_t *token);
    /* One session of the list that was asked for. */
    void (*on_session)(void *arg, const struct vsh_session_info *info);
};

/* ops and arg are borrowed for the life of the client. Returns 0 or -ENOMEM. */
int vsh_client_new(const struct vsh_client_ops *ops, void *arg,
                   struct vsh_client **ret_client);
void vsh_client_free(struct vsh_client *client);

/* Send the request, asking for all of VSH_FEATURES; once, first. Returns 0, -EMSGSIZE
 * when command, environment and names together do not fit into one frame, or what send
 * returned. */
int vsh_client_start(struct vsh_client *client, const struct vsh_request *request,
                     struct vmt_err *err);

/* Bytes from the server. After the end they are dropped. */
void vsh_client_receive(struct vsh_client *client, const uint8_t *data, size_t len);

/* To the command. Ignored unless it runs; len 0: end of stdin. Return 0 or what send
 * returned. */
int vsh_client_stdin(struct vsh_client *client, const uint8_t *data, size_t len);
int vsh_client_resize(struct vsh_client *client, int32_t rows, int32_t cols);
int vsh_client_signal(struct vsh_client *client, int sig);

bool vsh_client_running(const struct vsh_client *client);
/* VSH_FEATURE_ bits that the server knows, too, of those that were asked for; 0 before it
 * is ready. */
uint32_t vsh_client_features(const struct vsh_client *client);
