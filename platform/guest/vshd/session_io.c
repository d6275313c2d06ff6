/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/session_io.c - move bytes between client and command, both ways at
 * once, with bounded queues. */
#include "platform/guest/vshd/session_internal.h"

#include <errno.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "core/vsh/frame.h"
#include "platform/guest/vshd/child.h"

/* After the command's exit a background job may keep its output open for ever. What the
 * command itself wrote is there to be read at once, so this only leaves helpers of it,
 * such as a tee behind a pipe, the time to finish. */
#define DRAIN_MS 200u
/* The largest pipe that a user may make (fs.pipe-max-size, 1 MiB) and the buffers of a
 * terminal both fit: reading that much after the exit got all that the command wrote. */
#define DRAIN_BYTES (1024u * 1024 + 128u * 1024)
/* Most commands close their outputs by ending. So the ends of the outputs wait that long
 * for the exit, and all three reach the client at once: each costs a wakeup of the
 * guest's and of the host's processes, up to the client, while the command is still to be
 * reaped. */
#define END_HOLD_MS 10u
#define READS_PER_WAKEUP 16 /* so that one busy session does not starve the others */

static void session_pump(struct session_output *output);

/* After the exit: is everything sent that the command wrote? */
static void
session_try_finish(struct vshd_session *session)
{
    bool complete = true;

    if (session->phase != SESSION_DRAINING)
        return;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(session->outputs); i++) {
        const struct session_output *output = &session->outputs[i];

        if (output->fd >= 0 && !output->dry)
            complete = false;
    }
    if (complete || (session->drain_over && session->drained >= DRAIN_BYTES))
        session_send_exit(session);
}

static void
session_on_drain_over(void *arg)
{
    struct vshd_session *session = arg;

    session->timer = NULL;
    session->drain_over = true;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(session->outputs); i++)
        session_pump(&session->outputs[i]);
    session_try_finish(session);
}

/* Tell the client which outputs have ended. */
static void
session_send_ends(struct vshd_session *session)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(session->outputs); i++) {
        struct session_output *output = &session->outputs[i];

        if (output->ended &&
            vsh_server_output(session->proto, output->stream, NULL, 0) < 0) {
            session_done(session);
            return;
        }
        output->ended = false;
    }
}

static void
session_on_hold_over(void *arg)
{
    struct vshd_session *session = arg;

    session->timer = NULL;
    session_send_ends(session);
}

void
session_start_drain(struct vshd_session *session)
{
    session_send_ends(session);
    if (session->phase == SESSION_DONE)
        return;
    session->phase = SESSION_DRAINING;
    session_timer_set(session, DRAIN_MS, session_on_drain_over);
    session_try_finish(session);
}

static bool
session_backed_up(const struct vshd_session *session)
{
    return session->stream->ops->queued(session->stream) > VMT_STREAM_HIGH_MARK;
}

/* The command closed its end. A terminal says so with EIO, and has no frame for it. */
static void
output_close(struct session_output *output)
{
    struct vshd_session *session = output->session;

    session_event_close(&output->ev, &output->fd);
    output->ended = !session->pty;
    if (session->phase != SESSION_RUNNING)
        session_send_ends(session);
    else if (output->ended && !session->timer)
        session_timer_set(session, END_HOLD_MS, session_on_hold_over);
}

/* A read that took less than it could has most likely emptied the source, and so has one
 * of a large frame, which takes all that a pipe holds: asking again would only cost a
 * system call, and the loop tells when there is more. A terminal gives 4 KiB at most.
 * After the exit only "there is nothing" counts. */
static bool
output_may_have_more(const struct vshd_session *session, size_t n)
{
    if (session->phase == SESSION_DRAINING)
        return true;
    return n >= (session->pty ? 2048 : VSH_DATA_MAX) && n < VSH_LARGE_DATA_MAX;
}

/* Read once. Returns whether there may be more. */
static bool
output_read(struct session_output *output)
{
    struct vshd_session *session = output->session;
    /* Of the process: what is read is sent or copied before the next read. */
    static uint8_t room[VSH_DATA_HEAD + VSH_LARGE_DATA_MAX];
    uint8_t *bytes = room + VSH_DATA_HEAD;
    ssize_t n = read(output->fd, bytes, vsh_server_output_max(session->proto));

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        output->dry = session->drain_over && errno == EAGAIN;
        return false;
    }
    if (n <= 0) {
        output_close(output);
        return false;
    }
    if (session->phase == SESSION_DRAINING)
        session->drained += (size_t)n;
    if (vsh_server_output(session->proto, output->stream, bytes, (size_t)n) < 0) {
        session_done(session);
        return false;
    }
    return output_may_have_more(session, (size_t)n);
}

/* Move output to the client until there is none, the client is slow, or it is the others'
 * turn. */
static void
session_pump(struct session_output *output)
{
    struct vshd_session *session = output->session;

    for (int i = 0; i < READS_PER_WAKEUP && output->fd >= 0; i++) {
        if (session_backed_up(session)) {
            (void)event_del(output->ev); /* session_on_stream_drain adds it again */
            return;
        }
        if (!output_read(output))
            return;
    }
}

void
session_on_readable(int fd, short what, void *arg)
{
    struct session_output *output = arg;

    (void)fd;
    (void)what;
    session_pump(output);
    session_try_finish(output->session);
}

void
session_on_stream_drain(void *arg)
{
    struct vshd_session *session = arg;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(session->outputs); i++) {
        struct session_output *output = &session->outputs[i];

        if (output->fd >= 0 && event_add(output->ev, NULL) < 0)
            session_done(session);
        else if (output->fd >= 0)
            session_pump(output);
    }
    session_try_finish(session);
}

/* Write to the command. One that does not want input any more loses it. Returns how much
 * it took. */
static size_t
input_write(struct vshd_session *session, const uint8_t *data, size_t len)
{
    size_t done = 0;

    while (session->in_fd >= 0 && done < len) {
        ssize_t n = write(session->in_fd, data + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            session_event_close(&session->in_ev, &session->in_fd);
        else
            done += (size_t)n;
        if (n > 0 && done < len)
            break; /* it is full */
    }
    return done;
}

/* What could be written is: wait for room for the rest, or close. */
static void
session_await_input(struct vshd_session *session)
{
    if (session->in_fd < 0)
        vmt_buf_done(&session->input);
    else if (session->input.len > 0)
        (void)event_add(session->in_ev, NULL);
    else if (session->in_ended)
        session_event_close(&session->in_ev, &session->in_fd);
}

/* Do not take more from the client than the command reads. */
static void
session_throttle_input(struct vshd_session *session)
{
    bool full = session->input.len > VMT_STREAM_HIGH_MARK;

    if (session->in_paused ? session->input.len > VMT_STREAM_LOW_MARK : !full)
        return;
    session->in_paused = !session->in_paused;
    session->stream->ops->pause(session->stream, session->in_paused);
}

void
session_on_writable(int fd, short what, void *arg)
{
    struct vshd_session *session = arg;

    (void)fd;
    (void)what;
    vmt_buf_consume(&session->input,
                    input_write(session, session->input.data, session->input.len));
    session_await_input(session);
    session_throttle_input(session);
}

void
session_on_stdin(void *arg, const uint8_t *data, size_t len)
{
    struct vshd_session *session = arg;
    uint8_t eof;

    if (session->in_fd < 0 || session->in_ended)
        return;
    if (len == 0 && session->pty) {
        eof = child_eof_byte(session->in_fd);
        data = &eof;
        len = 1;
    } else if (len == 0) {
        session->in_ended = true;
    }
    if (session->input.len == 0 && len > 0) {
        size_t done = input_write(session, data, len);

        data += done;
        len -= done;
    }
    if (session->in_fd >= 0 && vmt_buf_append(&session->input, data, len) < 0) {
        session_done(session);
        return;
    }
    session_await_input(session);
    session_throttle_input(session);
}
