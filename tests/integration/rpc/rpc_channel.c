/* SPDX-License-Identifier: BSD-3-Clause */
/* A channel of ours to a stock server on 127.0.0.1 that comes and goes.
 *
 * rpc_channel PORT
 *     Each line of its input, "fast METHOD" or "wait METHOD", starts a call, which waits
 *     for ready or does not. Each call prints its number from 1, how it ended and the
 *     number in the reply; each state of the channel is printed, too. Ends with its
 *     input. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "core/rpc/channel.h"
#include "platform/linux/os/connectors.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "tests/unit/rpc/service.h"

#define CALLS_MAX 64
#define LINE_MAX_BYTES 200

struct call {
    size_t number;
    uint32_t reply;
};

struct program {
    struct os_loop *loop;        /* owned */
    struct rpc_channel *channel; /* owned */
    struct stream *input;        /* owned */
    struct vmt_buf line;         /* not ended yet */
    struct call calls[CALLS_MAX];
    size_t ncalls;
};

static void
program_done(struct program *p)
{
    stream_close(p->input);
    rpc_channel_free(p->channel);
    vmt_buf_done(&p->line);
    os_loop_free(p->loop);
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)putchar('\n');
    (void)fflush(stdout);
}

static void
on_state(void *arg, enum rpc_channel_state state, const char *reason)
{
    (void)arg;
    say("state %s %s", rpc_channel_state_name(state), reason);
}

static void
on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    (void)fds, (void)nfds;
    ((struct call *)arg)->reply = ((const Vmt__Rpctest__Reply *)reply)->number;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct call *call = arg;

    say("call %zu %s %u %s", call->number, rpc_code_name(status->code), call->reply,
        status->text);
}

static void
start_call(struct program *p, const char *method, bool wait)
{
    static const struct rpc_client_handler handler = {.on_message = on_message,
                                                      .on_done = on_done};
    struct call *call = &p->calls[p->ncalls];
    Vmt__Rpctest__Request message = rpctest_request();
    struct rpc_client_request request = {.reply = &vmt__rpctest__reply__descriptor,
                                         .timeout_ms = 60000,
                                         .handler = &handler,
                                         .arg = call,
                                         .wait_for_ready = wait};
    char path[LINE_MAX_BYTES + 32];
    struct vmt_err err;

    if (p->ncalls == CALLS_MAX)
        return;
    call->number = ++p->ncalls;
    (void)snprintf(path, sizeof(path), RPCTEST_PATH("%s"), method);
    request.path = path;
    if (rpc_channel_start(p->channel, &request, &message.base, NULL, &err) < 0)
        say("call %zu not started: %s", call->number, vmt_err_text(&err));
}

static void
handle_line(struct program *p, const char *line)
{
    if (vmt_str_has_prefix(line, "fast "))
        start_call(p, line + 5, false);
    else if (vmt_str_has_prefix(line, "wait "))
        start_call(p, line + 5, true);
}

static void
on_data(void *arg, const uint8_t *data, size_t len)
{
    struct program *p = arg;
    const uint8_t *end;

    if (vmt_buf_append(&p->line, data, len) < 0)
        os_loop_stop(p->loop, 1);
    while ((end = memchr(p->line.data, '\n', p->line.len))) {
        size_t n = (size_t)(end - p->line.data);
        char line[LINE_MAX_BYTES + 1] = "";

        memcpy(line, p->line.data, n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES);
        vmt_buf_consume(&p->line, n + 1);
        handle_line(p, line);
    }
}

static void
on_end(void *arg, int status)
{
    (void)status;
    os_loop_stop(((struct program *)arg)->loop, 0);
}

static int
program_start(struct program *p, uint16_t port, struct vmt_err *err)
{
    static const struct stream_handler handler = {.on_data = on_data, .on_end = on_end};
    /* A test does not wait for seconds when it need not. */
    const struct rpc_channel_config config = {
        .backoff_initial_ms = 50, .backoff_max_ms = 200, .on_state = on_state, .arg = p};
    struct connector *connector = NULL;
    int r = os_loop_new(&p->loop, err);

    if (r == 0)
        r = connector_tcp_new(p->loop, "127.0.0.1", port, &connector, err);
    if (r == 0)
        r = rpc_channel_new(os_loop_clock(p->loop), connector, &config, &p->channel, err);
    if (r < 0) {
        connector_free(connector);
        return r;
    }
    r = os_stream_new(p->loop, 0, NULL, &p->input, err);
    if (r == 0)
        p->input->ops->set_handler(p->input, &handler, p);
    return r;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(program_done) struct program p = {0};
    struct vmt_err err = {0};
    uint64_t port = 0;

    os_process_init();
    if (argc != 2 || vmt_parse_u64(argv[1], UINT16_MAX, &port) < 0) {
        (void)fprintf(stderr, "usage: rpc_channel PORT\n");
        return 2;
    }
    if (program_start(&p, (uint16_t)port, &err) < 0) {
        (void)fprintf(stderr, "rpc_channel: %s\n", vmt_err_text(&err));
        return 1;
    }
    return os_loop_run(p.loop);
}
