/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/session_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <event2/event.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/vshd/child.h"
#include "platform/linux/os/loop.h"

/* A client sends its request at once; who does not is not a client. */
#define REQUEST_TIMEOUT_MS 30000u
/* How often a finished session looks whether the client has taken everything. */
#define CLOSING_MS 5000u
struct vmt_list *
vshd_session_node(struct vshd_session *session)
{
    return &session->node;
}

struct vshd_session *
vshd_session_of(struct vmt_list *node)
{
    return VMT_CONTAINER_OF(node, struct vshd_session, node);
}

pid_t
vshd_session_pid(const struct vshd_session *session)
{
    return session->pid;
}

bool
vshd_session_is_command(const struct vshd_session *session)
{
    return session->command != NULL && session->phase != SESSION_CLOSING;
}

bool
vshd_session_carries(const struct vshd_session *session)
{
    return session->carries && session->phase != SESSION_CLOSING;
}

static struct vmt_clock *
session_clock(const struct vshd_session *session)
{
    return os_loop_clock(session->config.loop);
}

void
session_timer_cancel(struct vshd_session *session)
{
    struct vmt_clock *clock = session_clock(session);

    clock->ops->timer_cancel(clock, session->timer);
    session->timer = NULL;
}

void
session_timer_set(struct vshd_session *session, unsigned ms, vmt_timer_fn *fn)
{
    struct vmt_clock *clock = session_clock(session);

    clock->ops->timer_cancel(clock, session->timer);
    session->timer = NULL;
    if (clock->ops->timer_start(clock, ms, fn, session, &session->timer) < 0)
        vmt_log_warning("session runs without a deadline: out of memory");
}

void
session_event_close(struct event **ev, int *fd)
{
    if (*ev)
        event_free(*ev);
    *ev = NULL;
    vmt_closep(fd);
    *fd = -1;
}

/* What still runs of the command loses its terminal or pipes. */
static void
session_close_stdio(struct vshd_session *session)
{
    session_event_close(&session->status_ev, &session->status_fd);
    session_event_close(&session->in_ev, &session->in_fd);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(session->outputs); i++)
        session_event_close(&session->outputs[i].ev, &session->outputs[i].fd);
    vmt_buf_done(&session->input);
}

/* Let go of command and client. */
static void
session_release(struct vshd_session *session)
{
    session_timer_cancel(session);
    if (session->pid > 0) {
        /* CONT, so that a stopped command learns of its end. One that still sets itself
         * up may have no group yet. */
        child_signal(session->pid, session->pty ? session->in_fd : -1, SIGHUP);
        child_signal(session->pid, -1, SIGCONT);
        if (session->phase == SESSION_STARTING)
            (void)kill(session->pid, SIGKILL);
    }
    session->pid = 0;
    session_forward_free(session);
    session_close_stdio(session);
    session_cgroup_remove(session->cgroup);
    *session->cgroup = '\0';
    stream_close(session->stream);
    session->stream = NULL;
}

/* Who did what and when, for the guest's log. */
static void
session_audit_start(const struct vshd_session *session)
{
    char user[64], command[256];

    vmt_log_notice(
        "session %u opened: user=%s uid=%u pid=%d tty=%s command=%s", session->config.id,
        vmt_log_escape(user, sizeof(user), session->user, strlen(session->user)),
        (unsigned)session->uid, (int)session->pid, *session->tty ? session->tty : "none",
        vmt_log_escape(command, sizeof(command), session->command,
                       strlen(session->command)));
}

static void
session_audit_end(const struct vshd_session *session)
{
    struct vmt_clock *clock = session_clock(session);

    if (session->command)
        vmt_log_notice(
            "session %u closed: status=0x%x seconds=%llu", session->config.id,
            (unsigned)session->wait_status,
            (unsigned long long)(clock->ops->now_ms(clock) - session->since_ms) / 1000);
}

void
session_done(struct vshd_session *session)
{
    if (session->phase == SESSION_DONE)
        return;
    session_audit_end(session);
    session_release(session);
    session->phase = SESSION_DONE;
    session->config.on_done(session->config.arg, session);
}

void
vshd_session_free(struct vshd_session *session)
{
    if (!session)
        return;
    session_release(session);
    vsh_server_free(session->proto);
    free(session->command);
    free(session->place);
    free(session->user);
    free(session);
}

/* The client closes when it has read the last frame. One that reads slowly is waited for
 * as long as its connection lives. */
static void
session_on_closing(void *arg)
{
    struct vshd_session *session = arg;

    session->timer = NULL;
    if (session->stream->ops->queued(session->stream) == 0)
        session_done(session);
    else
        session_timer_set(session, CLOSING_MS, session_on_closing);
}

/* The last frame is queued. */
static void
session_close_after_flush(struct vshd_session *session)
{
    session->phase = SESSION_CLOSING;
    session_forward_free(session);
    session_close_stdio(session);
    session->stream->ops->shutdown_send(session->stream);
    session_timer_set(session, CLOSING_MS, session_on_closing);
}

void
session_refuse(struct vshd_session *session, int exit_code, const char *text)
{
    char safe[256];

    /* The text may quote the client. */
    vmt_log_info("session refused: %s",
                 vmt_log_escape(safe, sizeof(safe), text, strlen(text)));
    if (vsh_server_refuse(session->proto, exit_code, text) < 0)
        session_done(session);
    else
        session_close_after_flush(session);
}

void
session_send_exit(struct vshd_session *session)
{
    int status = session->wait_status;
    char text[128];
    int code;

    if (WIFSIGNALED(status)) {
        code = 128 + WTERMSIG(status);
        (void)snprintf(text, sizeof(text), "killed by signal %d (%s)%s", WTERMSIG(status),
                       strsignal(WTERMSIG(status)),
                       WCOREDUMP(status) ? ", core dumped" : "");
    } else {
        code = WEXITSTATUS(status);
        (void)snprintf(text, sizeof(text), "exited with code %d", code);
    }
    if (vsh_server_exited(session->proto, code, text) < 0)
        session_done(session);
    else
        session_close_after_flush(session);
}

static void
session_on_resize(void *arg, int32_t rows, int32_t cols)
{
    struct vshd_session *session = arg;

    if (session->pty && session->in_fd >= 0)
        child_resize(session->in_fd, rows, cols);
}

static void
session_on_signal(void *arg, int sig)
{
    struct vshd_session *session = arg;

    if (session->pid > 0)
        child_signal(session->pid, session->pty ? session->in_fd : -1, sig);
}

static void
session_on_proto_end(void *arg, const char *reason)
{
    if (reason)
        vmt_log_warning("session ended: %s", reason);
    session_done(arg);
}

/* The child told how exec went, or its end of the pipe is closed. */
void
session_on_status(struct vshd_session *session)
{
    struct vmt_err err;
    char text[VMT_ERR_MSG_MAX + 300];
    int code;
    enum child_status status = child_status_read(session->status_fd, &code, &err);

    if (status == CHILD_STATUS_PENDING)
        return;
    session_event_close(&session->status_ev, &session->status_fd);
    if (status == CHILD_STATUS_FAILED) {
        (void)snprintf(text, sizeof(text), "%.256s: %s", session->command, err.msg);
        session_refuse(session, code, text);
        return;
    }
    session->phase = SESSION_RUNNING;
    session_audit_start(session);
    if (session_send_ready(session) < 0) {
        session_done(session);
        return;
    }
    session_on_stream_drain(session); /* start to watch the outputs */
}

void
vshd_session_on_exit(struct vshd_session *session, int wait_status)
{
    /* The report comes before the end, but its event may not have run yet. */
    if (session->phase == SESSION_STARTING)
        session_on_status(session);
    session->pid = 0;
    session->wait_status = wait_status;
    if (session->phase == SESSION_RUNNING)
        session_start_drain(session);
    else if (session->phase == SESSION_STARTING)
        session_done(session);
}

/* A session without a command: it holds what it listens at. */
static int
session_hold(struct vshd_session *session, struct vmt_err *err)
{
    session->phase = SESSION_RUNNING;
    session->place = strdup("listeners");
    if (!session->place || session_send_ready(session) < 0)
        return vmt_err_set(err, ENOMEM, "set up the session");
    return 0;
}

int
session_run(struct vshd_session *session, const struct vsh_request *request,
            struct vmt_err *err)
{
    if (request->no_command)
        return session_hold(session, err);
    if (!session->config.has_room(session->config.arg))
        return vmt_err_setx(err, EAGAIN, "too many sessions are open in this guest");
    return session_start(session, request, err);
}

static void
session_list(struct vshd_session *session)
{
    int r = vsh_server_ready(session->proto, 0, NULL, 0);

    if (r == 0)
        r = session->config.list(session->config.arg, session);
    if (r == 0)
        r = vsh_server_exited(session->proto, 0, "");
    if (r < 0)
        session_done(session);
    else
        session_close_after_flush(session);
}

static void
session_note_time(struct vshd_session *session)
{
    struct vmt_clock *clock = session_clock(session);
    int32_t nsec;

    clock->ops->wall(clock, &session->since, &nsec);
    session->since_ms = clock->ops->now_ms(clock);
}

int
vshd_session_tell(const struct vshd_session *session, struct vshd_session *asking)
{
    struct vmt_clock *clock = session_clock(session);
    struct vsh_session_info info = {
        .id = session->config.id,
        .pid = session->pid,
        .uid = session->uid,
        .user = session->user,
        .tty = session->tty,
        .command = session->command,
        .since = session->since,
        .seconds = (clock->ops->now_ms(clock) - session->since_ms) / 1000,
        .cgroup = session->cgroup,
        .forward = session->place,
    };
    char command[256];

    if (session == asking ||
        (session->phase != SESSION_RUNNING && session->phase != SESSION_RELAYING))
        return 0;
    /* A command's name may be as long as a request. */
    (void)snprintf(command, sizeof(command), "%s",
                   session->command ? session->command : "");
    info.command = command;
    return vsh_server_session(asking->proto, &info);
}

static void
session_on_request(void *arg, const struct vsh_request *request)
{
    struct vshd_session *session = arg;
    struct vmt_err err;
    int r;

    session_timer_cancel(session);
    session_note_time(session);
    if (session->config.full) {
        session_refuse(session, 0, "too many connections are open to this guest");
        return;
    }
    if (request->list_sessions) {
        session_list(session);
        return;
    }
    if (request->connect)
        r = session_connect(session, request, &err);
    else if (request->accepted)
        r = session_take_accepted(session, request, &err);
    else if (request->nlisten > 0)
        r = session_listen(session, request, &err);
    else
        r = session_run(session, request, &err);
    if (r < 0)
        session_refuse(session, 0, err.msg);
}

static int
session_send(void *arg, const uint8_t *frame, size_t len)
{
    struct vshd_session *session = arg;

    if (!session->stream)
        return -EPIPE;
    return session->stream->ops->send(session->stream, frame, len, NULL, 0);
}

static void
session_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct vshd_session *session = arg;

    vsh_server_receive(session->proto, data, len);
}

/* Clients never half-close: the end of their bytes is the end of the client. */
static void
session_on_end(void *arg, int status)
{
    (void)status;
    session_done(arg);
}

static void
session_on_request_timeout(void *arg)
{
    struct vshd_session *session = arg;

    session->timer = NULL;
    vmt_log_warning("session ended: no request within %u s", REQUEST_TIMEOUT_MS / 1000);
    session_done(session);
}

int
vshd_session_new(struct stream *stream, const struct vshd_session_config *config,
                 struct vshd_session **ret_session)
{
    static const struct vsh_server_ops proto_ops = {
        .send = session_send,
        .on_request = session_on_request,
        .on_stdin = session_on_stdin,
        .on_resize = session_on_resize,
        .on_signal = session_on_signal,
        .on_end = session_on_proto_end,
    };
    static const struct stream_handler handler = {
        .on_data = session_on_data,
        .on_drain = session_on_stream_drain,
        .on_end = session_on_end,
    };
    struct vshd_session *session = calloc(1, sizeof(*session));

    if (!session || vsh_server_new(&proto_ops, session, &session->proto) < 0) {
        free(session);
        stream_close(stream);
        return -ENOMEM;
    }
    session->config = *config;
    session->stream = stream;
    session->status_fd = session->in_fd = -1;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(session->outputs); i++)
        session->outputs[i] = (struct session_output){
            .session = session,
            .fd = -1,
            .stream = i == 0 ? VSH_STREAM_STDOUT : VSH_STREAM_STDERR,
        };
    stream->ops->set_handler(stream, &handler, session);
    session_timer_set(session, REQUEST_TIMEOUT_MS, session_on_request_timeout);
    *ret_session = session;
    return 0;
}
