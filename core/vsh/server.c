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
    uint32_t features; /* of the client and ours; they hold once it is ready */
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
    if (server)
        vsh_decoder_done(&server->decoder);
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
    server->features = decoded.request.features & VSH_FEATURES;
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
    static void (*const handlers[VSH_KIND_COUNT])(struct vsh_server *,
                                                  const struct vsh_message *) = {
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
vsh_server_ready(struct vsh_server *server, int32_t pid,
                 const struct vsh_address *listening, size_t nlistening)
{
    struct vsh_response response = {
        .status = VSH_STATUS_READY,
        .text = "vsh ready",
        .pid = pid,
        .features = server->features,
        .listening = listening,
        .nlistening = nlistening,
    };

    server->decoder.large = server->features & VSH_FEATURE_LARGE_FRAMES;
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

size_t
vsh_server_output_max(const struct vsh_server *server)
{
    return server->features & VSH_FEATURE_LARGE_FRAMES ? VSH_LARGE_DATA_MAX
                                                       : VSH_DATA_MAX;
}

int
vsh_server_output(struct vsh_server *server, enum vsh_stream stream, uint8_t *data,
                  size_t len)
{
    struct vsh_message end = {.kind = VSH_KIND_DATA, .stream = stream};
    uint8_t *frame;

    if (len == 0)
        return server_send(server, &end);
    if (len > vsh_server_output_max(server))
        return -EMSGSIZE;
    frame = vsh_frame_data(data, len, stream);
    return server->ops->send(server->arg, frame, (size_t)(data + len - frame));
}

int
vsh_server_accepted(struct vsh_server *server, uint32_t listener, const uint8_t *token)
{
    struct vsh_message m = {
        .kind = VSH_KIND_ACCEPTED, .listener = listener, .token = token};

    if (!(server->features & VSH_FEATURE_FORWARD))
        return -ENOTSUP;
    return server_send(server, &m);
}

int
vsh_server_session(struct vsh_server *server, const struct vsh_session_info *info)
{
    struct vsh_message m = {.kind = VSH_KIND_SESSION, .session = *info};

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
