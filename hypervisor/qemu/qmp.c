/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/qmp.c - a QMP client on a unix stream socket.
 * Source: QEMU 7.2, docs/interop/qmp-spec.txt: a greeting, qmp_capabilities, then
 * commands with an id that the reply repeats, and events anywhere between. */
#include "hypervisor/qemu/qmp_internal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <event2/event.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "hypervisor/qemu/qmp_out.h"
#include "hypervisor/qemu/qmp_reader.h"

struct qmp_command {
    struct vmt_list node;
    struct qmp *qmp; /* borrowed */
    struct vmt_timer *deadline;
    json_int_t id;
    qmp_reply_fn *reply; /* this or answer, or none */
    qmp_answer_fn *answer;
    void *arg; /* borrowed */
};

struct qmp {
    struct qmp_config config;
    int fd; /* owned, -1 after the end */
    struct event *readable, *writable;
    struct vmt_timer *greeting_deadline;
    struct qmp_reader reader;
    struct qmp_out out;
    struct vmt_list pending; /* struct qmp_command, owned */
    unsigned npending;
    json_int_t next_id;
    bool ready;    /* commands may be sent */
    bool closed;   /* by the owner: no callback any more */
    unsigned busy; /* our callbacks on the stack; the last one frees a closed qmp */
};

static void
command_free(struct qmp_command *c)
{
    struct vmt_clock *clock = c->qmp->config.clock;

    vmt_list_remove(&c->node);
    c->qmp->npending--;
    clock->ops->timer_cancel(clock, c->deadline);
    free(c);
}

static void
command_finish(struct qmp_command *c, const struct qmp_answer *answer)
{
    qmp_reply_fn *reply = c->reply;
    qmp_answer_fn *on_answer = c->answer;
    void *arg = c->arg;

    command_free(c);
    if (reply)
        reply(arg, answer->result, answer->err);
    if (on_answer)
        on_answer(arg, answer);
}

static void
qmp_free(struct qmp *q)
{
    VMT_LIST_FOREACH(node, next, &q->pending)
    {
        command_free(VMT_CONTAINER_OF(node, struct qmp_command, node));
    }
    q->config.clock->ops->timer_cancel(q->config.clock, q->greeting_deadline);
    if (q->readable)
        event_free(q->readable);
    if (q->writable)
        event_free(q->writable);
    vmt_closep(&q->fd);
    qmp_out_done(&q->out);
    qmp_reader_done(&q->reader);
    free(q);
}

void
qmp_close(struct qmp *qmp)
{
    if (!qmp)
        return;
    qmp->closed = true;
    if (qmp->busy == 0)
        qmp_free(qmp);
}

VMT_DEFINE_FREEP(struct qmp, qmp_close)

static void
qmp_leave(struct qmp *q)
{
    if (--q->busy == 0 && q->closed)
        qmp_free(q);
}

/* The connection is over: tell everybody who waits. Called with q->busy held. */
static void
qmp_end(struct qmp *q, int status)
{
    struct vmt_err err;
    const struct qmp_answer answer = {.result = -ENOTCONN, .err = &err};

    if (q->fd < 0)
        return;
    q->ready = false;
    event_free(q->readable);
    event_free(q->writable);
    q->readable = q->writable = NULL;
    vmt_closep(&q->fd);
    q->fd = -1;
    q->config.clock->ops->timer_cancel(q->config.clock, q->greeting_deadline);
    q->greeting_deadline = NULL;
    (void)vmt_err_setx(&err, ENOTCONN, "QEMU's control channel is closed");
    while (!q->closed && !vmt_list_empty(&q->pending))
        command_finish(VMT_CONTAINER_OF(q->pending.next, struct qmp_command, node),
                       &answer);
    if (!q->closed)
        q->config.handler->on_end(q->config.arg, status);
}

static void
qmp_flush(struct qmp *q)
{
    int r = qmp_out_flush(&q->out, q->fd);

    if (r > 0)
        (void)event_add(q->writable, NULL);
    /* The read side sees the end too, and it tells in the loop. */
    if (r < 0)
        vmt_buf_consume(&q->out.buf, q->out.buf.len);
}

static void
qmp_on_writable(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    qmp_flush(arg);
}

static void
command_on_deadline(void *arg)
{
    struct qmp_command *c = arg;
    struct qmp *q = c->qmp;
    struct vmt_err err;
    const struct qmp_answer answer = {.result = -ETIMEDOUT, .err = &err};

    c->deadline = NULL;
    (void)vmt_err_setx(&err, ETIMEDOUT, "QEMU did not answer within %u s",
                       QMP_COMMAND_DEADLINE_MS / 1000);
    q->busy++;
    command_finish(c, &answer);
    qmp_leave(q);
}

/* Put the line of a command into the output. */
static int
command_write(struct qmp_command *c, const struct qmp_request *req)
{
    /* "O*" leaves out what is NULL, and takes a reference of its own otherwise. */
    json_t *object = json_pack("{s:s,s:O*,s:I}", "execute", req->command, "arguments",
                               req->arguments, "id", c->id);
    VMT_CLEANUP(vmt_freep) char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;
    VMT_CLEANUP(vmt_freep) char *whole = NULL;
    int len;

    json_decref(object);
    if (!line)
        return -ENOMEM;
    len = asprintf(&whole, "%s\r\n", line);
    if (len < 0) {
        whole = NULL;
        return -ENOMEM;
    }
    return qmp_out_add(&c->qmp->out, whole, (size_t)len, req->fd);
}

static int
qmp_send(struct qmp *q, const struct qmp_request *req, qmp_reply_fn *reply)
{
    struct vmt_clock *clock = q->config.clock;
    struct qmp_command *c;
    int r;

    if (q->npending >= QMP_PENDING_MAX)
        return -EBUSY;
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->qmp = q;
    c->id = ++q->next_id;
    c->reply = reply;
    c->answer = req->answer;
    c->arg = req->arg;
    vmt_list_append(&q->pending, &c->node);
    q->npending++;
    r = clock->ops->timer_start(clock, QMP_COMMAND_DEADLINE_MS, command_on_deadline, c,
                                &c->deadline);
    if (r == 0)
        r = command_write(c, req);
    if (r < 0) {
        command_free(c);
        return r;
    }
    qmp_flush(q);
    return 0;
}

int
qmp_execute(struct qmp *qmp, const char *command, qmp_reply_fn *reply, void *arg)
{
    const struct qmp_request req = {.command = command, .fd = -1, .arg = arg};

    if (!qmp->ready)
        return -ENOTCONN;
    return qmp_send(qmp, &req, reply);
}

int
qmp_request(struct qmp *qmp, const struct qmp_request *req)
{
    if (!qmp->ready)
        return -ENOTCONN;
    return qmp_send(qmp, req, NULL);
}

static void
on_capabilities(void *arg, int result, const struct vmt_err *err)
{
    struct qmp *q = arg;

    if (result == -ENOTCONN)
        return; /* on_end follows */
    if (result < 0) {
        vmt_log_debug("QMP negotiation failed: %s", vmt_err_text(err));
        qmp_end(q, -EPROTO);
        return;
    }
    q->config.clock->ops->timer_cancel(q->config.clock, q->greeting_deadline);
    q->greeting_deadline = NULL;
    q->ready = true;
    q->config.handler->on_ready(q->config.arg);
}

static void
on_greeting_deadline(void *arg)
{
    struct qmp *q = arg;

    q->greeting_deadline = NULL;
    q->busy++;
    qmp_end(q, -ETIMEDOUT);
    qmp_leave(q);
}

static struct qmp_command *
command_find(struct qmp *q, json_int_t id)
{
    VMT_LIST_FOREACH(node, next, &q->pending)
    {
        struct qmp_command *c = VMT_CONTAINER_OF(node, struct qmp_command, node);

        if (c->id == id)
            return c;
    }
    return NULL;
}

static void
handle_answer(struct qmp *q, const struct qmp_message *m)
{
    struct qmp_command *c = command_find(q, m->id);
    struct qmp_answer answer = {.data = m->data};
    struct vmt_err err;
    char text[256];

    if (!c)
        return; /* its deadline has passed */
    if (m->kind == QMP_KIND_ERROR) {
        answer = (struct qmp_answer){
            .result = -EIO, .error_class = m->name ? m->name : "", .err = &err};
        (void)vmt_err_setx(
            &err, EIO, "QEMU refused: %s",
            m->text ? vmt_log_escape(text, sizeof(text), m->text, strlen(m->text))
                    : "no reason given");
    }
    command_finish(c, &answer);
}

static void
negotiate(struct qmp *q)
{
    const struct qmp_request req = {.command = "qmp_capabilities", .fd = -1, .arg = q};

    if (qmp_send(q, &req, on_capabilities) < 0)
        qmp_end(q, -ENOMEM);
}

static void
handle_message(struct qmp *q, const struct qmp_message *m)
{
    if (m->kind == QMP_KIND_REPLY || m->kind == QMP_KIND_ERROR)
        handle_answer(q, m);
    else if (m->kind == QMP_KIND_EVENT)
        q->config.handler->on_event(q->config.arg, m->name, m->data);
    else if (m->kind == QMP_KIND_GREETING && q->next_id == 0)
        negotiate(q);
}

/* Hand out every whole line. Called with q->busy held. */
static void
dispatch(struct qmp *q)
{
    struct qmp_message m = {0};
    struct vmt_err err;
    int r = 0;

    while (!q->closed && q->fd >= 0 && (r = qmp_reader_next(&q->reader, &m, &err)) > 0) {
        handle_message(q, &m);
        qmp_message_done(&m);
    }
    if (r < 0 && !q->closed) {
        vmt_log_debug("QMP connection dropped: %s", err.msg);
        qmp_end(q, r);
    }
}

/* Returns whether more may be there. Called with q->busy held. */
static bool
read_once(struct qmp *q)
{
    char chunk[QMP_CHUNK_MAX];
    struct vmt_err err;
    ssize_t n = recv(q->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    int r;

    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n <= 0) {
        qmp_end(q, n < 0 ? -errno : 0);
        return false;
    }
    r = qmp_reader_feed(&q->reader, chunk, (size_t)n, &err);
    if (r < 0) {
        vmt_log_debug("QMP connection dropped: %s", err.msg);
        qmp_end(q, r);
        return false;
    }
    dispatch(q);
    return !q->closed && q->fd >= 0;
}

static void
qmp_on_readable(int fd, short what, void *arg)
{
    struct qmp *q = arg;

    (void)fd;
    (void)what;
    q->busy++;
    (void)read_once(q);
    qmp_leave(q);
}

void
qmp_finish(struct qmp *qmp)
{
    qmp->busy++;
    for (unsigned i = 0; i < QMP_FINISH_ROUNDS && qmp->fd >= 0 && read_once(qmp); i++)
        ;
    if (!qmp->closed)
        qmp_end(qmp, 0);
    qmp_leave(qmp);
}

static int
connect_to(const char *path, int *ret_fd, struct vmt_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (strlen(path) >= sizeof(addr.sun_path))
        return vmt_err_set(err, ENAMETOOLONG, "connect to %s", path);
    memcpy(addr.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return vmt_err_set(err, errno, "create a socket");
    /* A unix socket connects at once or not at all. */
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return vmt_err_set(err, errno, "connect to %s", path);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

int
qmp_open(const struct qmp_config *config, const char *path, struct qmp **ret_qmp,
         struct vmt_err *err)
{
    struct vmt_clock *clock = config->clock;
    VMT_CLEANUP(qmp_closep) struct qmp *q = calloc(1, sizeof(*q));
    int r;

    if (!q)
        return vmt_err_set(err, ENOMEM, "open QMP");
    q->config = *config;
    q->fd = -1;
    vmt_list_init(&q->pending);
    qmp_out_init(&q->out);
    r = connect_to(path, &q->fd, err);
    if (r < 0)
        return r;
    q->readable =
        event_new(config->base, q->fd, EV_READ | EV_PERSIST, qmp_on_readable, q);
    q->writable = event_new(config->base, q->fd, EV_WRITE, qmp_on_writable, q);
    if (!q->readable || !q->writable || event_add(q->readable, NULL) < 0 ||
        clock->ops->timer_start(clock, QMP_GREETING_DEADLINE_MS, on_greeting_deadline, q,
                                &q->greeting_deadline) < 0)
        return vmt_err_set(err, ENOMEM, "open QMP");
    *ret_qmp = vmt_take_ptr(&q);
    return 0;
}
