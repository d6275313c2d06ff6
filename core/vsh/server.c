/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/vsh/frame.h"

#define SERVER_TEXT_MAX 1024u /* words for a person; far below VSH_BODY_MAX */
#define SERVER_SIGNAL_MAX 31  /* real-time signals have no fixed numbers */

enum server_state {
    SERVER_WAITING, /* for the request */
    SERVER_SERVING,
    SERVER_ENDED,
};

struct vsh_server {
    const struct vsh_server_ops *ops; /* borrowed */
    void *arg;                        /* borrowed */
    enum server_state state;
    struct vsh_decoder decoder;
};

int
vsh_server_new(const struct vsh_server_ops *ops, void *arg,
               struct vsh_server **ret_server)
{
    struct vsh_server *server = calloc(1, sizeof(*server));

    if (!server)
        return -ENOMEM;
    server->ops = ops;
    server->arg = arg;
    *ret_server = server;
    return 0;
}

void
vsh_server_free(struct vsh_server *server)
{
    free(server);
}

static void
server_end(struct vsh_server *server, const char *reason)
{
    server->state = SERVER_ENDED;
    server->ops->on_end(server->arg, reason);
}

static void
server_on_request(struct vsh_server *server, const uint8_t *body, size_t len)
{
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded decoded;
    int r = vsh_request_decode(body, len, &decoded);

    if (r < 0) {
        server_end(server, "the first frame is no request");
        return;
    }
    server->state = SERVER_SERVING;
    server->ops->on_request(server->arg, &decoded.request);
}

static void
server_on_data(struct vsh_server *server, const struct vsh_message *m)
{
    if (m->stream == VSH_STREAM_STDIN)
        server->ops->on_stdin(server->arg, m->data, m->len);
}

static void
server_on_status(struct vsh_server *server, const struct vsh_message *m)
{
    if (m->status != VSH_STATUS_READY)
        server_end(server, NULL);
}

static void
server_on_resize(struct vsh_server *server, const struct vsh_message *m)
{
    server->ops->on_resize(server->arg, m->rows, m->cols);
}

static void
server_on_signal(struct vsh_server *server, const struct vsh_message *m)
{
    if (m->signal >= 1 && m->signal <= SERVER_SIGNAL_MAX)
        server->ops->on_signal(server->arg, m->signal);
}

static void
server_on_message(struct vsh_server *server, const uint8_t *body, size_t len)
{
    static void (*const handlers[])(struct vsh_server *, const struct vsh_message *) = {
        [VSH_KIND_DATA] = server_on_data,
        [VSH_KIND_STATUS] = server_on_status,
        [VSH_KIND_RESIZE] = server_on_resize,
        [VSH_KIND_SIGNAL] = server_on_signal,
    };
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded decoded;
    int r = vsh_guest_decode(body, len, &decoded);

    if (r < 0)
        server_end(server, "the client sent what is no vsh message");
    else if (handlers[decoded.message.kind])
        handlers[decoded.message.kind](server, &decoded.message);
}

void
vsh_server_receive(struct vsh_server *server, const uint8_t *data, size_t len)
{
    while (server->state != SERVER_ENDED) {
        const uint8_t *body;
        size_t n;
        int r = vsh_decoder_feed(&server->decoder, &data, &len, &body, &n);

        if (r == 0)
            return;
        if (r < 0)
            server_end(server, "the client sent an oversized frame");
        else if (server->state == SERVER_WAITING)
            server_on_request(server, body, n);
        else
            server_on_message(server, body, n);
    }
}

static int
server_respond(struct vsh_server *server, const struct vsh_response *response)
{
    uint8_t frame[VSH_FRAME_MAX];
    ssize_t n = vsh_response_encode(response, frame);

    return n < 0 ? (int)n : server->ops->send(server->arg, frame, (size_t)n);
}

int
vsh_server_ready(struct vsh_server *server, int32_t pid)
{
    struct vsh_response response = {
        .status = VSH_STATUS_READY, .text = "vsh ready", .pid = pid};

    return server_respond(server, &response);
}

int
vsh_server_refuse(struct vsh_server *server, int32_t exit_code, const char *text)
{
    char words[SERVER_TEXT_MAX];
    struct vsh_response response = {
        .status = VSH_STATUS_FAILED, .text = words, .exit_code = exit_code};

    (void)snprintf(words, sizeof(words), "%s", text);
    server->state = SERVER_ENDED;
    return server_respond(server, &response);
}

static int
server_send(struct vsh_server *server, const struct vsh_message *message)
{
    uint8_t frame[VSH_FRAME_MAX];
    ssize_t n = vsh_host_encode(message, frame);

    return n < 0 ? (int)n : server->ops->send(server->arg, frame, (size_t)n);
}

int
vsh_server_output(struct vsh_server *server, enum vsh_stream stream, const uint8_t *data,
                  size_t len)
{
    struct vsh_message m = {
        .kind = VSH_KIND_DATA, .stream = stream, .data = data, .len = len};

    return server_send(server, &m);
}

int
vsh_server_exited(struct vsh_server *server, int32_t code, const char *text)
{
    char words[SERVER_TEXT_MAX];
    struct vsh_message m = {.kind = VSH_KIND_STATUS,
                            .status = VSH_STATUS_EXITED,
                            .code = code,
                            .text = words};

    (void)snprintf(words, sizeof(words), "%s", text);
    server->state = SERVER_ENDED;
    return server_send(server, &m);
}
