/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/session_forward.c - sessions that carry a connection, and listeners
 * that a session has for its client. */
#include "platform/guest/vshd/session_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/vsh/frame.h"
#include "core/vsh/relay.h"
#include "platform/guest/vshd/accepted.h"
#include "platform/guest/vshd/account.h"
#include "platform/guest/vshd/user_socket.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/unix_socket.h"

/* The process that makes the socket gives up before. */
#define SOCKET_TIMEOUT_MS 30000u
#define PLACE_MAX 256

struct listener {
    struct session_forward *forward; /* borrowed */
    uint32_t index;
    struct user_socket *maker;    /* owned; also what removes the file at the end */
    struct os_listener *accepter; /* owned; from READY on */
    int fd;                       /* owned until then */
    struct vsh_address at;        /* its strings are the two below */
    char host[PLACE_MAX], path[PLACE_MAX];
};

struct session_forward {
    struct vshd_session *session; /* borrowed */
    struct user_socket *maker;    /* owned; of the connection to carry */
    struct vsh_relay *relay;      /* owned */
    struct listener listeners[VSH_LISTENERS_MAX];
    size_t n;
    size_t missing; /* listeners that are still being made */
    /* The request, to go on with when no listener is missing. */
    uint8_t request[VSH_FRAME_MAX];
    size_t request_len;
};

void
session_forward_free(struct vshd_session *session)
{
    struct session_forward *forward = session->forward;

    if (!forward)
        return;
    session->forward = NULL;
    accepted_pool_drop(session->config.accepted, session);
    user_socket_free(forward->maker);
    vsh_relay_free(forward->relay);
    for (size_t i = 0; i < forward->n; i++) {
        struct listener *l = &forward->listeners[i];

        if (l->accepter)
            os_listener_free(l->accepter);
        vmt_closep(&l->fd);
        user_socket_free(l->maker);
    }
    free(forward);
}

static int
forward_new(struct vshd_session *session)
{
    session->forward = calloc(1, sizeof(*session->forward));
    if (!session->forward)
        return -ENOMEM;
    session->forward->session = session;
    return 0;
}

static void
forward_on_timeout(void *arg)
{
    struct vshd_session *session = arg;

    session->timer = NULL;
    session_refuse(session, 0, "the guest could not make the socket in time");
}

/* Words for a place, as in "127.0.0.1:80" or "/run/x". */
static const char *
place_text(const struct vsh_address *a, char *buf)
{
    if (a->agent)
        (void)snprintf(buf, PLACE_MAX, "the agent's socket");
    else if (*a->path)
        (void)snprintf(buf, PLACE_MAX, "%s", a->path);
    else
        (void)snprintf(buf, PLACE_MAX, strchr(a->host, ':') ? "[%.128s]:%u" : "%.128s:%u",
                       *a->host ? a->host : "localhost", a->port);
    return buf;
}

static void
relay_on_done(void *arg)
{
    session_done(arg);
}

/* The bytes of the client and of the stream are each other's from now on. Takes stream
 * over. */
static void
forward_relay(struct vshd_session *session, struct stream *stream)
{
    struct stream *ends[2] = {session->stream, stream};
    struct session_forward *forward = session->forward;

    session_timer_cancel(session);
    if (vsh_server_ready(session->proto, 0, NULL, 0) < 0 ||
        vsh_relay_new(os_loop_clock(session->config.loop), ends, relay_on_done, session,
                      &forward->relay) < 0) {
        stream_close(stream);
        session_done(session);
        return;
    }
    session->stream = NULL;
    session->phase = SESSION_RELAYING;
}

static void
connect_on_done(void *arg, int fd, const struct vsh_address *bound,
                const struct vmt_err *err)
{
    static const struct stream_peer nobody = {.kind = STREAM_PEER_UNKNOWN};
    struct vshd_session *session = arg;
    VMT_CLEANUP(vmt_closep) int owned = fd;
    struct stream *stream;
    struct vmt_err own;
    char text[VMT_ERR_MSG_MAX + PLACE_MAX];

    (void)bound;
    if (fd >= 0 && os_stream_new(session->config.loop, fd, &nobody, &stream, &own) < 0) {
        fd = -1;
        err = &own;
    }
    if (fd < 0) {
        (void)snprintf(text, sizeof(text), "%s: %s", session->place, vmt_err_text(err));
        session_refuse(session, 0, text);
        return;
    }
    (void)vmt_take_fd(&owned);
    forward_relay(session, stream);
}

/* Have a socket made with the rights of the session's user. */
static int forward_make(struct vshd_session *session, const struct account *account,
                        const struct vsh_address *address, struct listener *listener,
                        struct vmt_err *err);

/* Users of the guest decide how many come to a listener. */
static int
carry_begin(struct vshd_session *session, struct vmt_err *err)
{
    if (!session->config.may_carry(session->config.arg))
        return vmt_err_setx(err, EAGAIN,
                            "too many forwarded connections are open in this guest");
    session->carries = true;
    return 0;
}

int
session_connect(struct vshd_session *session, const struct vsh_request *request,
                struct vmt_err *err)
{
    VMT_CLEANUP(account_done) struct account account = {0};
    char place[PLACE_MAX];
    int r = carry_begin(session, err);

    if (r == 0)
        r = session_choose_user(session, request, &account, err);
    if (r < 0)
        return r;
    session->place = strdup(place_text(request->connect, place));
    if (!session->place || forward_new(session) < 0)
        return vmt_err_set(err, ENOMEM, "set up the session");
    session_timer_set(session, SOCKET_TIMEOUT_MS, forward_on_timeout);
    session->phase = SESSION_CONNECTING;
    return forward_make(session, &account, request->connect, NULL, err);
}

int
session_take_accepted(struct vshd_session *session, const struct vsh_request *request,
                      struct vmt_err *err)
{
    struct stream *stream =
        accepted_pool_take(session->config.accepted, request->accepted);
    int r;

    if (!stream)
        return vmt_err_setx(err, ENOENT, "nobody waits there any more");
    r = carry_begin(session, err);
    if (r < 0) {
        stream_close(stream);
        return r;
    }
    session->place = strdup("a listener's");
    if (!session->place || forward_new(session) < 0) {
        stream_close(stream);
        return vmt_err_set(err, ENOMEM, "set up the session");
    }
    forward_relay(session, stream);
    return 0;
}

/* All listeners are there: go on as if nothing had been. */
static void
listen_go_on(struct vshd_session *session)
{
    struct session_forward *forward = session->forward;
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded decoded = {0};
    struct vmt_err err;

    session_timer_cancel(session);
    if (vsh_request_decode(forward->request, forward->request_len, &decoded) < 0)
        session_refuse(session, 0, "out of memory");
    else if (session_run(session, &decoded.request, &err) < 0)
        session_refuse(session, 0, err.msg);
}

static void
listen_on_done(void *arg, int fd, const struct vsh_address *bound,
               const struct vmt_err *err)
{
    struct listener *l = arg;
    struct vshd_session *session = l->forward->session;
    char place[PLACE_MAX], text[VMT_ERR_MSG_MAX + PLACE_MAX];

    if (fd < 0) {
        (void)snprintf(text, sizeof(text), "%s: %s", place_text(&l->at, place),
                       vmt_err_text(err));
        session_refuse(session, 0, text);
        return;
    }
    l->fd = fd;
    l->at.port = bound->port;
    (void)snprintf(l->path, sizeof(l->path), "%s", bound->path);
    if (--l->forward->missing == 0)
        listen_go_on(session);
}

static int
forward_make(struct vshd_session *session, const struct account *account,
             const struct vsh_address *address, struct listener *listener,
             struct vmt_err *err)
{
    struct user_socket_spec spec = {
        .account = account,
        .switch_user = session_switches_user(session, account),
        .listen = listener != NULL,
        .address = address,
    };

    if (listener)
        return user_socket_new(session->config.loop, &spec, listen_on_done, listener,
                               &listener->maker, err);
    return user_socket_new(session->config.loop, &spec, connect_on_done, session,
                           &session->forward->maker, err);
}

static int
listener_make(struct session_forward *forward, const struct account *account,
              const struct vsh_address *address, struct vmt_err *err)
{
    struct listener *l = &forward->listeners[forward->n];

    *l = (struct listener){
        .forward = forward, .index = (uint32_t)forward->n, .fd = -1, .at = *address};
    (void)snprintf(l->host, sizeof(l->host), "%s", address->host);
    (void)snprintf(l->path, sizeof(l->path), "%s", address->path);
    l->at.host = l->host;
    l->at.path = l->path;
    forward->n++;
    forward->missing++;
    return forward_make(forward->session, account, address, l, err);
}

int
session_listen(struct vshd_session *session, const struct vsh_request *request,
               struct vmt_err *err)
{
    VMT_CLEANUP(account_done) struct account account = {0};
    uint8_t frame[VSH_FRAME_MAX];
    ssize_t n = vsh_request_encode(request, frame);
    int r = session_choose_user(session, request, &account, err);

    if (r < 0)
        return r;
    if (n < 4 || forward_new(session) < 0)
        return vmt_err_set(err, ENOMEM, "set up the session");
    session->forward->request_len = (size_t)n - 4;
    memcpy(session->forward->request, frame + 4, (size_t)n - 4);
    session->phase = SESSION_CONNECTING;
    session_timer_set(session, SOCKET_TIMEOUT_MS, forward_on_timeout);
    for (size_t i = 0; r == 0 && i < request->nlisten; i++)
        r = listener_make(session->forward, &account, &request->listen[i], err);
    return r;
}

bool
session_agent_path(const struct vshd_session *session, const char **ret_path)
{
    const struct session_forward *forward = session->forward;

    for (size_t i = 0; forward && i < forward->n; i++)
        if (forward->listeners[i].at.agent) {
            *ret_path = forward->listeners[i].path;
            return true;
        }
    return false;
}

static void
listener_on_accept(void *arg, struct stream *stream, const struct stream_peer *peer)
{
    struct listener *l = arg;
    struct vshd_session *session = l->forward->session;
    struct accepted_pool *pool = session->config.accepted;
    uint8_t token[VSH_TOKEN_BYTES];
    int r = accepted_pool_put(pool, session, stream, token);

    (void)peer;
    if (r < 0)
        vmt_log_warning("forwarded connection refused: %s", strerror(-r));
    else if (vsh_server_accepted(session->proto, l->index, token) < 0)
        stream_close(accepted_pool_take(pool, token));
}

static int
listener_open(struct vshd_session *session, struct listener *l)
{
    static const struct stream_peer nobody = {.kind = STREAM_PEER_UNKNOWN};
    int r = os_listener_new(session->config.loop, l->fd, &nobody, listener_on_accept, l,
                            &l->accepter, NULL);

    if (r == 0)
        l->fd = -1;
    return r;
}

int
session_send_ready(struct vshd_session *session)
{
    struct session_forward *forward = session->forward;
    struct vsh_address at[VSH_LISTENERS_MAX];
    size_t n = forward ? forward->n : 0;
    int r;

    for (size_t i = 0; i < n; i++)
        at[i] = forward->listeners[i].at;
    r = vsh_server_ready(session->proto, session->pid, at, n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = listener_open(session, &forward->listeners[i]);
    return r;
}
