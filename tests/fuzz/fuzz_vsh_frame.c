/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile vshd for the client, and a broken client for vshd. The first byte says which
 * side (bit 0) and in what pieces the rest arrives. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/vsh/client.h"
#include "core/vsh/frame.h"
#include "core/vsh/server.h"
#include "tests/fuzz/fuzz.h"

/* Everything that is handed out must be readable, and nothing may follow the end. */
struct watch {
    size_t sum;
    bool ended;
    struct vsh_server *server; /* of the server's side */
};

static void
touch(struct watch *watch, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    assert(!watch->ended);
    for (size_t i = 0; i < len; i++)
        watch->sum += bytes[i];
}

static int
on_send(void *arg, const uint8_t *frame, size_t len)
{
    (void)arg;
    (void)frame;
    assert(len >= 4 && len <= 4 + VSH_LARGE_BODY_MAX);
    return 0;
}

static void
on_ready(void *arg, int32_t pid)
{
    (void)pid;
    touch(arg, NULL, 0);
}

static void
on_output(void *arg, enum vsh_stream stream, const uint8_t *data, size_t len)
{
    assert(stream == VSH_STREAM_STDOUT || stream == VSH_STREAM_STDERR);
    touch(arg, data, len);
}

static void
touch_address(void *arg, const struct vsh_address *address)
{
    assert(address->port <= UINT16_MAX);
    touch(arg, address->host, strlen(address->host));
    touch(arg, address->path, strlen(address->path));
}

static void
on_listening(void *arg, size_t listener, const struct vsh_address *address)
{
    assert(listener < 2);
    touch_address(arg, address);
}

static void
on_accepted(void *arg, uint32_t listener, const uint8_t *token)
{
    assert(listener < 2);
    touch(arg, token, VSH_TOKEN_BYTES);
}

static void
on_session(void *arg, const struct vsh_session_info *info)
{
    touch(arg, info->user, strlen(info->user));
    touch(arg, info->tty, strlen(info->tty));
    touch(arg, info->command, strlen(info->command));
    touch(arg, info->cgroup, strlen(info->cgroup));
    touch(arg, info->forward, strlen(info->forward));
}

static void
on_client_end(void *arg, const struct vsh_end *end)
{
    struct watch *watch = arg;

    touch(watch, end->text, strlen(end->text));
    watch->ended = true;
}

static void
on_request(void *arg, const struct vsh_request *request)
{
    touch(arg, request->target, strlen(request->target));
    touch(arg, request->user, strlen(request->user));
    touch(arg, request->cwd, strlen(request->cwd));
    for (size_t i = 0; i < request->nenv; i++) {
        touch(arg, request->env[i].name, strlen(request->env[i].name));
        touch(arg, request->env[i].value, strlen(request->env[i].value));
    }
    for (size_t i = 0; i < request->argc; i++)
        touch(arg, request->argv[i], strlen(request->argv[i]));
    assert(request->nlisten <= VSH_LISTENERS_MAX);
    for (size_t i = 0; i < request->nlisten; i++)
        touch_address(arg, &request->listen[i]);
    if (request->connect)
        touch_address(arg, request->connect);
    if (request->accepted)
        touch(arg, request->accepted, VSH_TOKEN_BYTES);
}

static void
answer(void *arg, const struct vsh_request *request)
{
    static uint8_t room[VSH_DATA_HEAD + VSH_LARGE_DATA_MAX];
    struct watch *watch = arg;

    on_request(arg, request);
    (void)vsh_server_ready(watch->server, 1, request->listen, request->nlisten);
    assert(vsh_server_output(watch->server, VSH_STREAM_STDOUT, room + VSH_DATA_HEAD,
                             vsh_server_output_max(watch->server)) == 0);
    (void)vsh_server_accepted(watch->server, 0, (const uint8_t[VSH_TOKEN_BYTES]){0});
}

static void
on_stdin(void *arg, const uint8_t *data, size_t len)
{
    touch(arg, data, len);
}

static void
on_resize(void *arg, int32_t rows, int32_t cols)
{
    (void)rows;
    (void)cols;
    touch(arg, NULL, 0);
}

static void
on_signal(void *arg, int sig)
{
    assert(sig >= 1 && sig <= 31);
    touch(arg, NULL, 0);
}

static void
on_server_end(void *arg, const char *reason)
{
    struct watch *watch = arg;

    touch(watch, reason, reason ? strlen(reason) : 0);
    watch->ended = true;
}

static void
feed(void (*receive)(void *side, const uint8_t *data, size_t len), void *side,
     const uint8_t *data, size_t size)
{
    size_t piece = 1u + (data[0] >> 1) * 37u;

    for (size_t at = 1; at < size; at += piece)
        receive(side, data + at, size - at < piece ? size - at : piece);
}

static void
client_receive(void *side, const uint8_t *data, size_t len)
{
    vsh_client_receive(side, data, len);
}

static void
server_receive(void *side, const uint8_t *data, size_t len)
{
    vsh_server_receive(side, data, len);
}

static void
fuzz_client(const uint8_t *data, size_t size)
{
    static const struct vsh_client_ops ops = {
        .send = on_send,
        .on_ready = on_ready,
        .on_output = on_output,
        .on_end = on_client_end,
        .on_listening = on_listening,
        .on_accepted = on_accepted,
        .on_session = on_session,
    };
    struct vsh_address listen[2] = {{.port = 80}, {.agent = true}};
    struct vsh_request request = {
        .target = VSH_TARGET_VM, .listen = listen, .nlisten = 2};
    struct watch watch = {0};
    struct vsh_client *client;

    if (vsh_client_new(&ops, &watch, &client) < 0)
        return;
    (void)vsh_client_start(client, &request, NULL);
    feed(client_receive, client, data, size);
    vsh_client_free(client);
}

static void
fuzz_server(const uint8_t *data, size_t size)
{
    static const struct vsh_server_ops ops = {on_send,   answer,    on_stdin,
                                              on_resize, on_signal, on_server_end};
    struct watch watch = {0};
    struct vsh_server *server;

    if (vsh_server_new(&ops, &watch, &server) < 0)
        return;
    watch.server = server;
    feed(server_receive, server, data, size);
    vsh_server_free(server);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1)
        fuzz_server(data, size);
    else
        fuzz_client(data, size);
    return 0;
}
