/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/connect.h"

#include <errno.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/vsh/endpoint.h"

#define RETRY_PAUSE_MS 50u

struct vsh_connect {
    struct os_loop *loop; /* borrowed */
    struct vsh_connect_config config;
    struct vsh_endpoint endpoint;
    struct transport *transport; /* owned; NULL: a plain unix socket */
    struct transport_op *op;     /* owned while it runs */
    struct vmt_timer *timer;     /* owned; the next attempt */
    uint64_t give_up_ms;
};

VMT_DEFINE_FREEP(struct vsh_connect, vsh_connect_free)

static void connect_attempt(void *arg);

void
vsh_connect_free(struct vsh_connect *c)
{
    struct vmt_clock *clock;

    if (!c)
        return;
    clock = os_loop_clock(c->loop);
    clock->ops->timer_cancel(clock, c->timer);
    if (c->op)
        c->transport->ops->cancel(c->op);
    if (c->transport)
        c->transport->ops->free(c->transport);
    free(c);
}

static void
connect_on_done(void *arg, struct stream *stream, const struct vmt_err *err)
{
    struct vsh_connect *c = arg;
    struct vmt_clock *clock = os_loop_clock(c->loop);

    c->op = NULL;
    /* Nobody listens yet, as a transport to a guest says it. */
    if (!stream && err && (err->code == ECONNREFUSED || err->code == ECONNRESET) &&
        clock->ops->now_ms(clock) < c->give_up_ms &&
        clock->ops->timer_start(clock, RETRY_PAUSE_MS, connect_attempt, c, &c->timer) ==
            0)
        return;
    c->config.on_done(c->config.arg, stream, err);
}

static void
connect_unix(struct vsh_connect *c)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stream *stream = NULL;
    struct vmt_err err;
    int r = os_unix_connect(c->endpoint.address, &fd, &err);

    if (r == 0)
        r = os_stream_new(c->loop, fd, NULL, &stream, &err);
    if (r == 0)
        (void)vmt_take_fd(&fd);
    connect_on_done(c, stream, r < 0 ? &err : NULL);
}

static void
connect_attempt(void *arg)
{
    struct vsh_connect *c = arg;
    struct transport_dial dial = {
        .cid = c->endpoint.cid,
        .port = VMT_PORT_VSHD,
        .timeout_ms = c->config.timeout_ms,
        .on_done = connect_on_done,
        .arg = c,
    };
    struct vmt_err err;

    c->timer = NULL;
    if (!c->transport)
        connect_unix(c);
    else if (c->transport->ops->connect(c->transport, &dial, &c->op, &err) < 0)
        connect_on_done(c, NULL, &err);
}

static int
connect_open_transport(struct vsh_connect *c, struct vmt_err *err)
{
    const struct vsh_endpoint *e = &c->endpoint;
    int r = 0;

    if (e->kind == VSH_ENDPOINT_UNIX)
        return 0;
    if (e->kind == VSH_ENDPOINT_HYBRID)
        r = transport_hybrid_new(c->loop, &c->transport, err);
    else if (e->kind == VSH_ENDPOINT_VSOCK)
        r = transport_vsock_new(c->loop, &c->transport, err);
    else
        r = transport_tcp_new(c->loop, NULL, &c->transport, err);
    if (r < 0)
        return r;
    return c->transport->ops->vm_add(c->transport, e->cid, e->address, err);
}

int
vsh_connect_new(struct os_loop *loop, const struct vsh_connect_config *config,
                struct vsh_connect **ret_connect, struct vmt_err *err)
{
    VMT_CLEANUP(vsh_connect_freep) struct vsh_connect *c = calloc(1, sizeof(*c));
    struct vmt_clock *clock = os_loop_clock(loop);
    int r;

    if (!c)
        return vmt_err_set(err, ENOMEM, "connect");
    c->loop = loop;
    c->config = *config;
    c->endpoint = *config->endpoint;
    c->config.endpoint = NULL;
    c->give_up_ms = clock->ops->now_ms(clock) + config->retry_ms;
    r = connect_open_transport(c, err);
    if (r < 0)
        return r;
    r = clock->ops->timer_start(clock, 0, connect_attempt, c, &c->timer);
    if (r < 0)
        return vmt_err_set(err, -r, "connect");
    *ret_connect = vmt_take_ptr(&c);
    return 0;
}
