/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/vsh/client.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vsh/connect.h"
#include "platform/linux/vsh/endpoint.h"
#include "platform/linux/vsh/forward.h"
#include "platform/linux/vsh/run_internal.h"
#include "platform/linux/vsh/terminal.h"

#define CONNECT_TIMEOUT_MS 10000u
/* A guest that took the connection answers when its child has done exec; a slow one under
 * emulation with a cold disk was seen to need seconds. */
#define SET_UP_TIMEOUT_MS 60000u
#define TEXT_MAX 1024

/* Words from the guest go to the user's terminal: no control characters. */
static const char *
guest_text(const char *text, char *buf)
{
    return vmt_log_escape(buf, TEXT_MAX, text, strlen(text));
}

static void
run_timer_cancel(struct vsh_run *run)
{
    struct vmt_clock *clock = os_loop_clock(run->loop);

    clock->ops->timer_cancel(clock, run->timer);
    run->timer = NULL;
}

static void
run_timer_set(struct vsh_run *run, unsigned ms, vmt_timer_fn *fn)
{
    struct vmt_clock *clock = os_loop_clock(run->loop);

    run_timer_cancel(run);
    if (clock->ops->timer_start(clock, ms, fn, run, &run->timer) < 0)
        run_fail(run, VSH_EXIT_LOCAL, "out of memory");
}

/* Stop when everything that the guest sent is written. */
void
run_try_stop(struct vsh_run *run)
{
    if (run->over && run->out.queue.len == 0 && run->errors.queue.len == 0)
        os_loop_stop(run->loop, run->code);
}

/* The session is over, whatever the server says from now on. */
void
run_end(struct vsh_run *run, int code)
{
    if (run->over)
        return;
    run->over = true;
    run->code = code;
    run_timer_cancel(run);
    source_close(&run->in);
    stream_close(run->stream);
    run->stream = NULL;
    run_try_stop(run);
}

void
run_fail(struct vsh_run *run, int code, const char *fmt, ...)
{
    char text[TEXT_MAX + 200];
    va_list ap;

    if (run->over)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    /* A raw terminal does not go back to the first column by itself. */
    terminal_restore();
    (void)fprintf(stderr, "%s: %s\n", run->config->program, text);
    run_end(run, code);
}

/* The user's end of things wants no more: as if a local program had died of SIGPIPE. */
static void
run_on_sink_result(struct vsh_run *run, struct sink *sink, int error)
{
    if (error == 0)
        return;
    if (sink == &run->errors)
        return; /* nowhere to complain; the session goes on */
    if (error == -EPIPE)
        run_end(run, 128 + SIGPIPE);
    else
        run_fail(run, VSH_EXIT_LOCAL, "write stdout: %s", strerror(-error));
}

/* Do not take more from the guest than stdout takes. */
static void
run_throttle_output(struct vsh_run *run)
{
    size_t queued = run->out.queue.len + run->errors.queue.len;

    if (!run->stream)
        return;
    if (run->paused ? queued > VMT_STREAM_LOW_MARK : queued <= VMT_STREAM_HIGH_MARK)
        return;
    run->paused = !run->paused;
    run->stream->ops->pause(run->stream, run->paused);
}

static void
out_on_progress(void *arg, int error)
{
    struct vsh_run *run = arg;

    run_on_sink_result(run, &run->out, error);
    run_throttle_output(run);
    run_try_stop(run);
}

static void
errors_on_progress(void *arg, int error)
{
    struct vsh_run *run = arg;

    (void)error;
    run_throttle_output(run);
    run_try_stop(run);
}

static void
client_on_output(void *arg, enum vsh_stream stream, const uint8_t *data, size_t len)
{
    struct vsh_run *run = arg;
    struct sink *sink = stream == VSH_STREAM_STDERR ? &run->errors : &run->out;

    if (run->over)
        return; /* the rest of what came together with the end */
    if (len == 0) {
        sink_end(sink);
        return;
    }
    run_on_sink_result(run, sink, sink_write(sink, data, len));
    run_throttle_output(run);
}

static void
client_on_ready(void *arg, int32_t pid)
{
    struct vsh_run *run = arg;
    struct vmt_err err;

    (void)pid;
    run_timer_cancel(run);
    run_alive_start(run);
    if (run->config->forward &&
        vsh_forward_ready(run->config->forward, vsh_client_features(run->client), &err) <
            0) {
        run_fail(run, VSH_EXIT_LOCAL, "%s", err.msg);
        return;
    }
    if (run->config->request->no_command)
        return;
    if (run->interactive && terminal_raw(STDIN_FILENO, &err) < 0) {
        run_fail(run, VSH_EXIT_LOCAL, "%s", err.msg);
        return;
    }
    source_run(&run->in, true);
}

static void
client_on_end(void *arg, const struct vsh_end *end)
{
    struct vsh_run *run = arg;
    char buf[TEXT_MAX];

    if (end->kind == VSH_END_EXITED)
        run_end(run, end->code & 0xff);
    else if (end->kind == VSH_END_REFUSED)
        run_fail(run, end->code ? end->code : VSH_EXIT_LOCAL, "%s",
                 guest_text(end->text, buf));
    else
        run_fail(run, VSH_EXIT_LOST, "the session broke: %s", guest_text(end->text, buf));
}

static void
client_on_listening(void *arg, size_t listener, const struct vsh_address *address)
{
    struct vsh_run *run = arg;

    vsh_forward_on_listening(run->config->forward, listener, address);
}

static void
client_on_accepted(void *arg, uint32_t listener, const uint8_t *token)
{
    struct vsh_run *run = arg;

    vsh_forward_on_accepted(run->config->forward, listener, token);
}

static int
client_send(void *arg, const uint8_t *frame, size_t len)
{
    struct vsh_run *run = arg;

    if (!run->stream)
        return -EPIPE;
    return run->stream->ops->send(run->stream, frame, len, NULL, 0);
}

/* Failures to send need no words here: the stream tells its end by itself. */
static void
in_on_data(void *arg, const uint8_t *data, size_t len, int error)
{
    struct vsh_run *run = arg;

    if (error < 0) {
        terminal_restore();
        (void)fprintf(stderr, "%s: read stdin: %s\n", run->config->program,
                      strerror(-error));
    }
    if (run->interactive && len > 0)
        run_typed(run, data, len);
    else
        (void)vsh_client_stdin(run->client, data, len);
    if (run->stream && run->stream->ops->queued(run->stream) > VMT_STREAM_HIGH_MARK)
        source_run(&run->in, false);
}

static void
stream_on_drain(void *arg)
{
    struct vsh_run *run = arg;

    source_run(&run->in, vsh_client_running(run->client));
}

static void
stream_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct vsh_run *run = arg;

    run->alive.heard = true;
    vsh_client_receive(run->client, data, len);
}

static void
stream_on_end(void *arg, int status)
{
    struct vsh_run *run = arg;

    if (run->config->ret_loss && !run->over && vsh_client_running(run->client))
        *run->config->ret_loss = VSH_LOSS_CUT;
    if (vsh_client_running(run->client))
        run_fail(run, VSH_EXIT_LOST, "connection to the guest lost%s%s",
                 status < 0 ? ": " : "", status < 0 ? strerror(-status) : "");
    else
        run_fail(run, VSH_EXIT_LOST,
                 "vshd closed the connection before the session was set up");
}

static void
run_on_set_up_timeout(void *arg)
{
    struct vsh_run *run = arg;

    run->timer = NULL;
    run_fail(run, VSH_EXIT_LOCAL, "vshd did not answer within %u s",
             SET_UP_TIMEOUT_MS / 1000);
}

static void
run_start(struct vsh_run *run)
{
    struct vsh_request request = *run->config->request;
    struct vmt_err err;

    request.nopty = !run->interactive && run->config->tty != VSH_TTY_ALWAYS;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && request.rows == 0; fd++)
        terminal_size(fd, &request.rows, &request.cols);
    if (run->config->forward)
        vsh_forward_fill(run->config->forward, &request);
    run_timer_set(run, SET_UP_TIMEOUT_MS, run_on_set_up_timeout);
    if (vsh_client_start(run->client, &request, &err) < 0)
        run_fail(run, VSH_EXIT_LOCAL, "%s", err.msg);
}

static void
run_on_connect(void *arg, struct stream *stream, const struct vmt_err *err)
{
    static const struct stream_handler handler = {
        .on_data = stream_on_data,
        .on_drain = stream_on_drain,
        .on_end = stream_on_end,
    };
    struct vsh_run *run = arg;

    if (!stream) {
        run_fail(run, VSH_EXIT_LOCAL, "cannot reach vshd in the guest: %s",
                 vmt_err_text(err));
        return;
    }
    run->stream = stream;
    stream->ops->set_handler(stream, &handler, run);
    run_start(run);
}

static int
run_open_stdio(struct vsh_run *run, struct vmt_err *err)
{
    int r;

    /* Nobody asked for what the guest's side of a copy says to be obeyed by a terminal.
     */
    run->errors.plain = strcmp(run->config->request->target, VSH_TARGET_COPY) == 0;
    run->in.on_data = in_on_data;
    run->out.on_progress = out_on_progress;
    run->errors.on_progress = errors_on_progress;
    run->in.arg = run->out.arg = run->errors.arg = run;
    r = source_open(&run->in, run->loop, STDIN_FILENO, err);
    if (r == 0)
        r = sink_open(&run->out, run->loop, STDOUT_FILENO, err);
    if (r == 0)
        r = sink_open(&run->errors, run->loop, STDERR_FILENO, err);
    return r;
}

static int
run_open(struct vsh_run *run, struct vmt_err *err)
{
    static const struct vsh_client_ops ops = {
        .send = client_send,
        .on_ready = client_on_ready,
        .on_output = client_on_output,
        .on_end = client_on_end,
        /* Only with listeners, which only a forward asks for. */
        .on_listening = client_on_listening,
        .on_accepted = client_on_accepted,
    };
    struct vsh_connect_config connect = {
        .endpoint = run->config->endpoint,
        .timeout_ms = CONNECT_TIMEOUT_MS,
        .retry_ms = run->config->retry_ms,
        .on_done = run_on_connect,
        .arg = run,
    };
    int r = vsh_client_new(&ops, run, &run->client);

    if (r < 0)
        return vmt_err_set(err, -r, "create the session");
    r = run_open_stdio(run, err);
    if (r == 0)
        r = run_watch_signals(run, err);
    if (r == 0)
        r = vsh_connect_new(run->loop, &connect, &run->connect, err);
    return r;
}

static void
run_done(struct vsh_run *run)
{
    run_ignore_signals(run);
    run_timer_cancel(run);
    run_alive_stop(run);
    vsh_connect_free(run->connect);
    stream_close(run->stream);
    source_close(&run->in);
    sink_close(&run->out);
    sink_close(&run->errors);
    vsh_client_free(run->client);
    terminal_restore();
}

int
vsh_run(struct os_loop *loop, const struct vsh_run_config *config)
{
    VMT_CLEANUP(run_done)
    struct vsh_run run = {
        .loop = loop,
        .config = config,
        .interactive = !config->request->no_command && config->tty != VSH_TTY_NEVER &&
                       isatty(STDIN_FILENO) &&
                       (isatty(STDOUT_FILENO) || config->tty == VSH_TTY_ALWAYS),
        .escape = {.character = config->escape ? config->escape : VSH_ESCAPE_DEFAULT},
    };
    struct vmt_err err;

    if (run_open(&run, &err) < 0) {
        (void)fprintf(stderr, "%s: %s\n", config->program, err.msg);
        return VSH_EXIT_LOCAL;
    }
    return os_loop_run(loop);
}
