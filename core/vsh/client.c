/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/vsh/frame.h"

enum client_state {
    CLIENT_SET_UP, /* the response has not come */
    CLIENT_RUNNING,
    CLIENT_ENDED,
};

struct vsh_client {
    const struct vsh_client_ops *ops; /* borrowed */
    void *arg;                        /* borrowed */
    enum client_state state;
    uint32_t features; /* that both know */
    size_t nlisten;    /* listeners that were asked for */
    struct vsh_decoder decoder;
    uint8_t room[VSH_DATA_HEAD + VSH_LARGE_DATA_MAX]; /* for one frame of stdin */
};

int
vsh_client_new(const struct vsh_client_ops *ops, void *arg,
               struct vsh_client **ret_client)
{
    struct vsh_client *client = calloc(1, sizeof(*client));

    if (!client)
        return -ENOMEM;
    client->ops = ops;
    client->arg = arg;
    *ret_client = client;
    return 0;
}

void
vsh_client_free(struct vsh_client *client)
{
    if (client)
        vsh_decoder_done(&client->decoder);
    free(client);
}

uint32_t
vsh_client_features(const struct vsh_client *client)
{
    return client->features;
}

bool
vsh_client_running(const struct vsh_client *client)
{
    return client->state == CLIENT_RUNNING;
}

int
vsh_client_start(struct vsh_client *client, const struct vsh_request *request,
                 struct vmt_err *err)
{
    struct vsh_request full = *request;
    uint8_t frame[VSH_FRAME_MAX];
    ssize_t n;

    full.features = VSH_FEATURES;
    client->nlisten = full.nlisten;
    n = vsh_request_encode(&full, frame);
    if (n == -EMSGSIZE)
        return vmt_err_setx(
            err, EMSGSIZE,
            "command and environment are too long: the vsh protocol takes "
            "%u bytes; put them into a script in the guest",
            VSH_BODY_MAX);
    if (n < 0)
        return vmt_err_set(err, (int)-n, "encode request");
    n = client->ops->send(client->arg, frame, (size_t)n);
    if (n < 0)
        return vmt_err_set(err, (int)-n, "send request");
    return 0;
}

static void
client_end(struct vsh_client *client, enum vsh_end_kind kind, int code, const char *text)
{
    struct vsh_end end = {.kind = kind, .code = code, .text = text};

    client->state = CLIENT_ENDED;
    client->ops->on_end(client->arg, &end);
}

static void
client_on_response(struct vsh_client *client, const uint8_t *body, size_t len)
{
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded decoded;
    const struct vsh_response *response = &decoded.response;
    int r = vsh_response_decode(body, len, &decoded);

    if (r < 0) {
        client_end(client, VSH_END_BROKEN, 0, "the answer is no vsh message");
        return;
    }
    if (response->status != VSH_STATUS_READY) {
        int code = response->exit_code;

        client_end(client, VSH_END_REFUSED, code == 126 || code == 127 ? code : 0,
                   response->text);
        return;
    }
    if (response->nlistening != 0 && response->nlistening != client->nlisten) {
        client_end(client, VSH_END_BROKEN, 0, "the answer has listeners of others");
        return;
    }
    client->state = CLIENT_RUNNING;
    client->features = response->features & VSH_FEATURES;
    client->decoder.large = client->features & VSH_FEATURE_LARGE_FRAMES;
    for (size_t i = 0; i < response->nlistening && client->ops->on_listening; i++)
        client->ops->on_listening(client->arg, i, &response->listening[i]);
    client->ops->on_ready(client->arg, response->pid);
}

static void
client_on_message(struct vsh_client *client, const uint8_t *body, size_t len)
{
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded decoded;
    const struct vsh_message *m = &decoded.message;
    int r = vsh_host_decode(body, len, &decoded);

    if (r < 0) {
        client_end(client, VSH_END_BROKEN, 0, "the server sent what is no vsh message");
        return;
    }
    if (m->kind == VSH_KIND_DATA &&
        (m->stream == VSH_STREAM_STDOUT || m->stream == VSH_STREAM_STDERR)) {
        client->ops->on_output(client->arg, (enum vsh_stream)m->stream, m->data, m->len);
        return;
    }
    if (m->kind == VSH_KIND_ACCEPTED && client->ops->on_accepted &&
        m->listener < client->nlisten)
        client->ops->on_accepted(client->arg, m->listener, m->token);
    if (m->kind == VSH_KIND_SESSION && client->ops->on_session)
        client->ops->on_session(client->arg, &m->session);
    if (m->kind != VSH_KIND_STATUS || m->status == VSH_STATUS_READY)
        return;
    if (m->status == VSH_STATUS_EXITED)
        client_end(client, VSH_END_EXITED, m->code, m->text);
    else
        client_end(client, VSH_END_BROKEN, 0, m->text);
}

void
vsh_client_receive(struct vsh_client *client, const uint8_t *data, size_t len)
{
    while (client->state != CLIENT_ENDED) {
        const uint8_t *body;
        size_t n;
        int r = vsh_decoder_feed(&client->decoder, &data, &len, &body, &n);

        if (r == 0)
            return;
        if (r < 0)
            client_end(client, VSH_END_BROKEN, 0, "the server sent an oversized frame");
        else if (client->state == CLIENT_SET_UP)
            client_on_response(client, body, n);
        else
            client_on_message(client, body, n);
    }
}

static int
client_send(struct vsh_client *client, const struct vsh_message *message)
{
    uint8_t frame[VSH_FRAME_MAX];
    ssize_t n;

    if (client->state != CLIENT_RUNNING)
        return 0;
    n = vsh_guest_encode(message, frame);
    if (n < 0)
        return (int)n;
    return client->ops->send(client->arg, frame, (size_t)n);
}

static int
client_send_stdin(struct vsh_client *client, const uint8_t *data, size_t len)
{
    uint8_t *at = client->room + VSH_DATA_HEAD, *frame;

    memcpy(at, data, len);
    frame = vsh_frame_data(at, len, VSH_STREAM_STDIN);
    return client->ops->send(client->arg, frame, (size_t)(at + len - frame));
}

int
vsh_client_stdin(struct vsh_client *client, const uint8_t *data, size_t len)
{
    static const struct vsh_message end = {.kind = VSH_KIND_DATA,
                                           .stream = VSH_STREAM_STDIN};
    size_t most = client->decoder.large ? VSH_LARGE_DATA_MAX : VSH_DATA_MAX;
    int r = 0;

    if (len == 0)
        return client_send(client, &end);
    while (client->state == CLIENT_RUNNING && len > 0 && r == 0) {
        size_t n = len < most ? len : most;

        r = client_send_stdin(client, data, n);
        data += n;
        len -= n;
    }
    return r;
}

int
vsh_client_resize(struct vsh_client *client, int32_t rows, int32_t cols)
{
    struct vsh_message m = {.kind = VSH_KIND_RESIZE, .rows = rows, .cols = cols};

    return client_send(client, &m);
}

int
vsh_client_signal(struct vsh_client *client, int sig)
{
    struct vsh_message m = {.kind = VSH_KIND_SIGNAL, .signal = sig};

    return client_send(client, &m);
}
