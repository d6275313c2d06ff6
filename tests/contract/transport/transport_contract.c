/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/contract/transport/transport_contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"

#define PORTS 16
#define DIAL_TIMEOUT_MS 20000

#define CHECK(cond)                                                                      \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);   \
            return false;                                                                \
        }                                                                                \
    } while (0)

/* One end of a connection and what it learned. */
struct end {
    struct stream *s; /* owned */
    struct stream_peer peer;
    struct vmt_buf got;
    size_t want;
    bool reached, ended, done;
    int status;   /* of on_end */
    int code;     /* of a failed connect */
    char why[64]; /* the beginning of its words */
    unsigned times;
    struct transport_op *op;             /* borrowed */
    struct transport_listener *listener; /* borrowed */
    struct transport *t;                 /* borrowed */
    bool close_at_once, unlisten_at_once;
};

static void
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

static void
end_attach(struct end *e, struct stream *s)
{
    if (e->s) { /* a test that expects one connection got two */
        stream_close(s);
        return;
    }
    e->s = s;
    s->ops->set_handler(s, &end_handler, e);
}

static void
on_done(void *arg, struct stream *s, const struct vmt_err *err)
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

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
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

/* Listen on the first port that is free from *port on. */
static bool
end_listen(struct end *e, struct transport *t, uint32_t *port)
{
    for (uint32_t p = *port; p < *port + PORTS; p++) {
        int r = t->ops->listen(t, p, on_accept, e, &e->listener, NULL);

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

static int
end_connect(struct end *e, struct transport *t, uint32_t cid, uint32_t port)
{
    struct transport_dial dial = {.cid = cid,
                                  .port = port,
                                  .timeout_ms = DIAL_TIMEOUT_MS,
                                  .on_done = on_done,
                                  .arg = e};

    return t->ops->connect(t, &dial, &e->op, NULL);
}

static bool
add_both(struct contract_world *w)
{
    CHECK(w->host->ops->vm_add(w->host, w->vm_cid, w->vm_address, NULL) == 0);
    CHECK(w->guest->ops->vm_add(w->guest, w->host_cid, w->host_address, NULL) == 0);
    return true;
}

/* Connect from one side to a listener on the other; both ends get their streams. */
static bool
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

static bool
send_text(struct end *e, const char *text)
{
    CHECK(e->s->ops->send(e->s, text, strlen(text), NULL, 0) == 0);
    return true;
}

static bool
expect_text(struct contract_world *w, struct end *e, const char *text)
{
    e->want = strlen(text);
    e->reached = e->got.len >= e->want;
    CHECK(w->run_until(w, &e->reached));
    CHECK(e->got.len == e->want && memcmp(e->got.data, text, e->want) == 0);
    vmt_buf_consume(&e->got, e->want);
    return true;
}

static bool
talk(struct contract_world *w, struct end *a, struct end *b)
{
    CHECK(send_text(a, "question"));
    CHECK(expect_text(w, b, "question"));
    CHECK(send_text(b, "answer"));
    CHECK(expect_text(w, a, "answer"));
    return true;
}

static bool
host_reaches_guest(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};

    CHECK(add_both(w));
    CHECK(connect_pair(w, true, &a, &b));
    CHECK(!w->names_vm || a.peer.cid == w->vm_cid);
    CHECK(a.peer.kind != STREAM_PEER_UNKNOWN);
    return talk(w, &a, &b);
}

static bool
guest_reaches_host_and_is_known(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    struct stream_peer peer;

    CHECK(add_both(w));
    CHECK(connect_pair(w, false, &a, &b));
    CHECK(b.peer.kind == STREAM_PEER_VSOCK || b.peer.kind == STREAM_PEER_VM ||
          b.peer.kind == STREAM_PEER_TCP);
    CHECK(!w->names_vm || b.peer.cid == w->vm_cid);
    b.s->ops->peer(b.s, &peer);
    CHECK(peer.kind == b.peer.kind && peer.cid == b.peer.cid);
    return talk(w, &a, &b);
}

static bool
the_first_bytes_of_the_called_are_not_lost(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    uint32_t port = w->port;

    CHECK(add_both(w));
    CHECK(end_listen(&b, w->guest, &port));
    CHECK(end_connect(&a, w->host, w->vm_cid, port) == 0);
    CHECK(w->run_until(w, &b.done));
    CHECK(send_text(&b, "OK 1\nbanner")); /* like an answer of the transport's own */
    CHECK(w->run_until(w, &a.done));
    CHECK(a.s);
    return expect_text(w, &a, "OK 1\nbanner");
}

static bool
an_unknown_vm_is_refused_at_once(struct contract_world *w)
{
    struct end a = {0};

    CHECK(end_connect(&a, w->host, 77, w->port) == -ENOENT);
    CHECK(!a.op);
    w->run_turns(w);
    CHECK(a.times == 0);
    return true;
}

static bool
a_port_without_listener_fails_once_with_words(struct contract_world *w)
{
    for (int from_host = 0; from_host < 2; from_host++) {
        struct end a = {0};
        struct transport *from = from_host ? w->host : w->guest;

        CHECK(from_host || add_both(w));
        CHECK(end_connect(&a, from, from_host ? w->vm_cid : w->host_cid,
                          w->port + PORTS - 1) == 0);
        CHECK(a.times == 0);
        CHECK(w->run_until(w, &a.done));
        CHECK(!a.s && a.code > 0 && a.why[0]);
        w->run_turns(w);
        CHECK(a.times == 1);
    }
    return true;
}

static bool
a_vm_is_added_once(struct contract_world *w)
{
    CHECK(add_both(w));
    CHECK(w->host->ops->vm_add(w->host, w->vm_cid, w->vm_address, NULL) == -EEXIST);
    w->host->ops->vm_remove(w->host, 77); /* unknown: nothing happens */
    return true;
}

static bool
a_cancelled_connection_says_nothing(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    uint32_t port = w->port;

    CHECK(add_both(w));
    CHECK(end_listen(&b, w->guest, &port));
    CHECK(end_connect(&a, w->host, w->vm_cid, port) == 0);
    w->host->ops->cancel(a.op);
    w->run_turns(w);
    CHECK(a.times == 0);
    return true;
}

static bool
a_connection_is_cancelled_halfway(struct contract_world *w)
{
    struct end a = {0};

    if (!w->set_hung)
        return true;
    CHECK(add_both(w));
    w->set_hung(w, true);
    CHECK(end_connect(&a, w->host, w->vm_cid, w->port) == 0);
    w->run_turns(w);
    CHECK(a.times == 0);
    w->host->ops->cancel(a.op);
    w->run_turns(w);
    CHECK(a.times == 0);
    return true;
}

static bool
a_hung_vm_costs_no_more_than_the_deadline(struct contract_world *w)
{
    struct end a = {0};
    struct transport_dial dial = {.cid = w->vm_cid,
                                  .port = w->port,
                                  .timeout_ms = 50,
                                  .on_done = on_done,
                                  .arg = &a};

    if (!w->set_hung)
        return true;
    CHECK(add_both(w));
    w->set_hung(w, true);
    CHECK(w->host->ops->connect(w->host, &dial, &a.op, NULL) == 0);
    CHECK(w->run_until(w, &a.done));
    CHECK(a.code == ETIMEDOUT && a.why[0]);
    return true;
}

static bool
a_listener_serves_vms_that_come_later(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    uint32_t port = w->port;

    CHECK(end_listen(&b, w->host, &port));
    CHECK(add_both(w));
    CHECK(end_connect(&a, w->guest, w->host_cid, port) == 0);
    CHECK(w->run_until(w, &a.done));
    CHECK(a.s);
    CHECK(w->run_until(w, &b.done));
    return talk(w, &a, &b);
}

/* Whatever the stranger sees - a refusal or an end - the listener never hears of it. */
static bool
who_was_not_added_does_not_get_in(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    uint32_t port = w->port;

    if (!w->checks_callers)
        return true;
    CHECK(end_listen(&b, w->host, &port));
    CHECK(w->guest->ops->vm_add(w->guest, w->host_cid, w->host_address, NULL) == 0);
    CHECK(end_connect(&a, w->guest, w->host_cid, port) == 0);
    CHECK(w->run_until(w, &a.done));
    if (a.s)
        CHECK(w->run_until(w, &a.ended));
    CHECK(b.times == 0);
    return true;
}

static bool
a_removed_vm_keeps_its_streams_and_makes_no_new_ones(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0}, late = {0};

    CHECK(add_both(w));
    CHECK(connect_pair(w, false, &a, &b));
    w->host->ops->vm_remove(w->host, w->vm_cid);
    CHECK(talk(w, &a, &b));
    CHECK(end_connect(&late, w->host, w->vm_cid, w->port) == -ENOENT);
    CHECK(end_connect(&late, w->guest, w->host_cid, w->port) == 0);
    CHECK(w->run_until(w, &late.done));
    if (late.s)
        CHECK(w->run_until(w, &late.ended));
    CHECK(b.times == 1);
    CHECK(w->host->ops->vm_add(w->host, w->vm_cid, w->vm_address, NULL) == 0);
    return true;
}

static bool
a_port_has_one_listener_at_a_time(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0}, c = {0};
    uint32_t port = w->port;

    CHECK(add_both(w));
    CHECK(end_listen(&b, w->host, &port));
    CHECK(w->host->ops->listen(w->host, port, on_accept, &c, &c.listener, NULL) ==
          -EADDRINUSE);
    w->host->ops->unlisten(b.listener);
    CHECK(w->host->ops->listen(w->host, port, on_accept, &c, &c.listener, NULL) == 0);
    CHECK(end_connect(&a, w->guest, w->host_cid, port) == 0);
    CHECK(w->run_until(w, &c.done));
    CHECK(b.times == 0);
    w->host->ops->unlisten(c.listener);
    CHECK(w->run_until(w, &a.done));
    return talk(w, &a, &c); /* streams outlive their listener */
}

static bool
after_unlisten_nobody_gets_in(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    uint32_t port = w->port;

    CHECK(add_both(w));
    CHECK(end_listen(&b, w->host, &port));
    w->host->ops->unlisten(b.listener);
    CHECK(end_connect(&a, w->guest, w->host_cid, port) == 0);
    CHECK(w->run_until(w, &a.done));
    CHECK(!a.s && b.times == 0);
    return true;
}

static bool
unlisten_and_close_from_inside_accept_are_safe(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0};
    struct end b = {.close_at_once = true, .unlisten_at_once = true};
    uint32_t port = w->port;

    CHECK(add_both(w));
    CHECK(end_listen(&b, w->host, &port));
    CHECK(end_connect(&a, w->guest, w->host_cid, port) == 0);
    CHECK(w->run_until(w, &b.done));
    CHECK(w->run_until(w, &a.done));
    if (a.s)
        CHECK(w->run_until(w, &a.ended));
    CHECK(b.times == 1);
    return true;
}

static bool
half_close_leaves_the_other_way_open(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};

    CHECK(add_both(w));
    CHECK(connect_pair(w, true, &a, &b));
    CHECK(send_text(&a, "last words"));
    a.s->ops->shutdown_send(a.s);
    CHECK(w->run_until(w, &b.ended));
    CHECK(b.status == 0);
    CHECK(expect_text(w, &b, "last words"));
    CHECK(send_text(&b, "goodbye"));
    CHECK(expect_text(w, &a, "goodbye"));
    CHECK(!a.ended);
    return true;
}

static uint8_t
pattern(size_t i)
{
    return (uint8_t)(i * 131 >> 5);
}

static bool
bulk_arrives_whole_both_ways_at_once(struct contract_world *w)
{
    enum { TOTAL = 3 << 20 };
    VMT_CLEANUP(end_release) struct end a = {.want = TOTAL}, b = {.want = TOTAL};
    VMT_CLEANUP(vmt_freep) uint8_t *bulk = malloc(TOTAL);

    CHECK(bulk);
    for (size_t i = 0; i < TOTAL; i++)
        bulk[i] = pattern(i);
    CHECK(add_both(w));
    CHECK(connect_pair(w, true, &a, &b));
    CHECK(a.s->ops->send(a.s, bulk, TOTAL, NULL, 0) == 0);
    CHECK(b.s->ops->send(b.s, bulk, TOTAL, NULL, 0) == 0);
    CHECK(w->run_until(w, &a.reached));
    CHECK(w->run_until(w, &b.reached));
    CHECK(a.got.len == TOTAL && memcmp(a.got.data, bulk, TOTAL) == 0);
    CHECK(b.got.len == TOTAL && memcmp(b.got.data, bulk, TOTAL) == 0);
    CHECK(a.s->ops->queued(a.s) == 0 && b.s->ops->queued(b.s) == 0);
    return true;
}

static bool
free_ends_listeners_and_connections_without_a_word(struct contract_world *w)
{
    struct end a = {0}, b = {0}, c = {0};
    uint32_t port = w->port;

    CHECK(add_both(w));
    CHECK(end_listen(&b, w->guest, &port));
    CHECK(end_listen(&c, w->host, &(uint32_t){w->port}));
    CHECK(end_connect(&a, w->host, w->vm_cid, port) == 0);
    w->host->ops->free(vmt_take_ptr(&w->host));
    w->run_turns(w);
    CHECK(a.times == 0);
    end_release(&b);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(struct contract_world *w);
} checks[] = {
#define ENTRY(f)                                                                         \
    {                                                                                    \
#f, f                                                                            \
    }
    ENTRY(host_reaches_guest),
    ENTRY(guest_reaches_host_and_is_known),
    ENTRY(the_first_bytes_of_the_called_are_not_lost),
    ENTRY(an_unknown_vm_is_refused_at_once),
    ENTRY(a_port_without_listener_fails_once_with_words),
    ENTRY(a_vm_is_added_once),
    ENTRY(a_cancelled_connection_says_nothing),
    ENTRY(a_connection_is_cancelled_halfway),
    ENTRY(a_hung_vm_costs_no_more_than_the_deadline),
    ENTRY(a_listener_serves_vms_that_come_later),
    ENTRY(who_was_not_added_does_not_get_in),
    ENTRY(a_removed_vm_keeps_its_streams_and_makes_no_new_ones),
    ENTRY(a_port_has_one_listener_at_a_time),
    ENTRY(after_unlisten_nobody_gets_in),
    ENTRY(unlisten_and_close_from_inside_accept_are_safe),
    ENTRY(half_close_leaves_the_other_way_open),
    ENTRY(bulk_arrives_whole_both_ways_at_once),
    ENTRY(free_ends_listeners_and_connections_without_a_word),
#undef ENTRY
};

int
transport_contract_run(const char *name)
{
    int failed = 0;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(checks); i++) {
        struct contract_world *w = contract_world_new(name);
        bool ok;

        if (!w)
            return -1;
        ok = checks[i].run(w);
        w->free(w);
        failed += !ok;
        (void)printf("%s %s: %s\n", ok ? "ok  " : "FAIL", name, checks[i].name);
    }
    (void)printf("%s: %zu checks, %d failed\n", name, VMT_ARRAY_SIZE(checks), failed);
    return failed;
}
