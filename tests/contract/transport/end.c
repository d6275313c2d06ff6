/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/contract/transport/end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"

void
end_release(struct end *e)
{
    stream_close(vmt_take_ptr(&e->s));
    vmt_buf_done(&e->got);
}

static void
end_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct end *e = arg;

    if (vmt_buf_append(&e->got, data, len) < 0)
        abort();
    e->reached = e->want > 0 && e->got.len >= e->want;
}

static void
end_on_end(void *arg, int status)
{
    struct end *e = arg;

    e->ended = true;
    e->status = status;
}

static const struct stream_handler end_handler = {end_on_data, NULL, end_on_end};

void
end_attach(struct end *e, struct stream *s)
{
    if (e->s) { /* a test that expects one connection got two */
        stream_close(s);
        return;
    }
    e->s = s;
    s->ops->set_handler(s, &end_handler, e);
}

void
end_on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct end *e = arg;

    e->times++;
    e->done = true;
    e->op = NULL;
    if (s) {
        s->ops->peer(s, &e->peer);
        end_attach(e, s);
        return;
    }
    e->code = err->code;
    (void)snprintf(e->why, sizeof(e->why), "%.63s", err->msg);
}

void
end_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct end *e = arg;

    e->times++;
    e->done = true;
    e->peer = *peer;
    if (e->unlisten_at_once)
        e->t->ops->unlisten(vmt_take_ptr(&e->listener));
    if (e->close_at_once)
        stream_close(s);
    else
        end_attach(e, s);
}

bool
end_listen(struct end *e, struct transport *t, uint32_t *port)
{
    for (uint32_t p = *port; p < *port + CONTRACT_PORTS; p++) {
        int r = t->ops->listen(t, p, end_on_accept, e, &e->listener, NULL);

        if (r == 0) {
            e->t = t;
            *port = p;
            return true;
        }
        if (r != -EADDRINUSE)
            break;
    }
    return false;
}

int
end_connect(struct end *e, struct transport *t, uint32_t cid, uint32_t port)
{
    struct transport_dial dial = {.cid = cid,
                                  .port = port,
                                  .timeout_ms = DIAL_TIMEOUT_MS,
                                  .on_done = end_on_done,
                                  .arg = e};

    return t->ops->connect(t, &dial, &e->op, NULL);
}

bool
add_both(struct contract_world *w)
{
    CHECK(w->host->ops->vm_add(w->host, w->vm_cid, w->vm_address, NULL) == 0);
    CHECK(w->guest->ops->vm_add(w->guest, w->host_cid, w->host_address, NULL) == 0);
    return true;
}

bool
connect_pair(struct contract_world *w, bool from_host, struct end *caller,
             struct end *called)
{
    struct transport *from = from_host ? w->host : w->guest;
    struct transport *to = from_host ? w->guest : w->host;
    uint32_t port = w->port;

    CHECK(end_listen(called, to, &port));
    CHECK(end_connect(caller, from, from_host ? w->vm_cid : w->host_cid, port) == 0);
    CHECK(!caller->done && !called->done); /* never from inside the call */
    CHECK(w->run_until(w, &caller->done));
    CHECK(caller->s);
    CHECK(w->run_until(w, &called->done));
    CHECK(called->s);
    return true;
}

bool
send_text(struct end *e, const char *text)
{
    CHECK(e->s->ops->send(e->s, text, strlen(text), NULL, 0) == 0);
    return true;
}

bool
expect_text(struct contract_world *w, struct end *e, const char *text)
{
    e->want = strlen(text);
    e->reached = e->got.len >= e->want;
    CHECK(w->run_until(w, &e->reached));
    CHECK(e->got.len == e->want && memcmp(e->got.data, text, e->want) == 0);
    vmt_buf_consume(&e->got, e->want);
    return true;
}

bool
talk(struct contract_world *w, struct end *a, struct end *b)
{
    CHECK(send_text(a, "question"));
    CHECK(expect_text(w, b, "question"));
    CHECK(send_text(b, "answer"));
    CHECK(expect_text(w, a, "answer"));
    return true;
}
