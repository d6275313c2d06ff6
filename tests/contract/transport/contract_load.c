/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/contract_load.c - many connections, many bytes, no descriptors
 * left, peers that vanish. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "tests/contract/transport/end.h"

#define CHUNK (64u * 1024)
/* No divisor of any buffer's size: bytes that are lost, doubled or swapped show. */
#define PERIOD 1000003u

/* --- bytes --- */

/* One direction of a connection with a writer that heeds the marks and a reader that
 * compares every byte. */
struct flow {
    struct stream *from, *to; /* borrowed */
    uint8_t *pattern;         /* owned; PERIOD bytes, and the first CHUNK once more */
    uint64_t total, sent, got, milestone;
    size_t queued_max;
    unsigned drains;
    bool reached, wrong, ended;
};

static void
flow_fill(struct flow *f)
{
    while (f->sent < f->total && f->from->ops->queued(f->from) <= VMT_STREAM_HIGH_MARK) {
        size_t n = f->total - f->sent < CHUNK ? (size_t)(f->total - f->sent) : CHUNK;

        if (f->from->ops->send(f->from, f->pattern + f->sent % PERIOD, n, NULL, 0) < 0) {
            f->wrong = f->reached = true;
            return;
        }
        f->sent += n;
        if (f->from->ops->queued(f->from) > f->queued_max)
            f->queued_max = f->from->ops->queued(f->from);
    }
}

static void
flow_on_drain(void *arg)
{
    struct flow *f = arg;

    f->drains++;
    flow_fill(f);
}

static void
flow_on_end(void *arg, int status)
{
    struct flow *f = arg;

    (void)status;
    f->ended = f->reached = true;
}

static void
flow_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct flow *f = arg;

    while (len > 0) {
        size_t n = len < CHUNK ? len : CHUNK;

        if (memcmp(data, f->pattern + f->got % PERIOD, n) != 0)
            f->wrong = f->reached = true;
        f->got += n;
        data += n;
        len -= n;
    }
    if (f->got >= f->milestone)
        f->reached = true;
}

static const struct stream_handler flow_from = {flow_on_data, flow_on_drain, flow_on_end};
static const struct stream_handler flow_to = {flow_on_data, NULL, flow_on_end};

static bool
flow_start(struct flow *f, struct end *from, struct end *to)
{
    uint32_t seed = 1;

    f->from = from->s;
    f->to = to->s;
    f->pattern = malloc(PERIOD + CHUNK);
    CHECK(f->pattern);
    for (size_t i = 0; i < PERIOD; i++) {
        seed = seed * 1664525u + 1013904223u;
        f->pattern[i] = (uint8_t)(seed >> 24);
    }
    memcpy(f->pattern + PERIOD, f->pattern, CHUNK);
    f->from->ops->set_handler(f->from, &flow_from, f);
    f->to->ops->set_handler(f->to, &flow_to, f);
    return true;
}

static void
flow_done(struct flow *f)
{
    free(f->pattern);
}

static bool
flow_finish(struct contract_world *w, struct flow *f)
{
    while (f->got < f->total) {
        f->milestone = f->got + (16u << 20);
        if (f->milestone > f->total)
            f->milestone = f->total;
        f->reached = false;
        CHECK(w->run_until(w, &f->reached));
        CHECK(!f->wrong && !f->ended);
    }
    CHECK(f->got == f->total && f->sent == f->total);
    return true;
}

static bool
bulk_goes_through_whole_and_bounded(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    VMT_CLEANUP(flow_done) struct flow f = {.total = w->bulk_bytes};

    CHECK(add_both(w));
    CHECK(connect_pair(w, true, &a, &b));
    CHECK(flow_start(&f, &a, &b));
    flow_fill(&f);
    CHECK(flow_finish(w, &f));
    /* One chunk over the mark, and what a transport adds to it. */
    CHECK(f.queued_max <= VMT_STREAM_HIGH_MARK + 2 * CHUNK);
    (void)printf("     %llu MiB compared, at most %zu KiB queued\n",
                 (unsigned long long)(f.total >> 20), f.queued_max >> 10);
    return true;
}

/* What the writer may send stops growing: nothing between the two holds without bound. */
static bool
a_reader_that_pauses_stops_the_writer(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    VMT_CLEANUP(flow_done) struct flow f = {.total = 64u << 20};
    uint64_t before = UINT64_MAX, got;

    CHECK(add_both(w));
    CHECK(connect_pair(w, true, &a, &b));
    CHECK(flow_start(&f, &a, &b));
    b.s->ops->pause(b.s, true);
    w->run_turns(w);
    got = f.got; /* a transport may hand over what it had read */
    flow_fill(&f);
    while (f.sent != before) {
        before = f.sent;
        (void)w->turns_within(w, 200);
    }
    CHECK(f.sent < f.total);
    CHECK(f.got == got);
    CHECK(f.queued_max <= VMT_STREAM_HIGH_MARK + 2 * CHUNK);
    CHECK(a.s->ops->queued(a.s) > VMT_STREAM_LOW_MARK);
    b.s->ops->pause(b.s, false);
    CHECK(f.got == got); /* never from inside the call */
    CHECK(flow_finish(w, &f));
    CHECK(f.drains > 0);
    CHECK(a.s->ops->queued(a.s) == 0);
    return true;
}

/* --- connections --- */

#define CROWD 1000u
#define DIALS_AT_A_TIME 32u

struct crowd {
    struct end callers[CROWD];
    struct end called[CROWD];
    unsigned n;
    bool all_called;
};

static void
crowd_free(struct crowd **c)
{
    for (unsigned i = 0; *c && i < CROWD; i++) {
        end_release(&(*c)->callers[i]);
        end_release(&(*c)->called[i]);
    }
    free(*c);
}

static void
echo_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct end *e = arg;

    (void)e->s->ops->send(e->s, data, len, NULL, 0);
}

static void
echo_on_end(void *arg, int status)
{
    struct end *e = arg;

    (void)status;
    e->ended = true;
}

static const struct stream_handler echo_handler = {echo_on_data, NULL, echo_on_end};

static void
crowd_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct crowd *c = arg;

    (void)peer;
    if (c->n == CROWD) {
        stream_close(s);
        return;
    }
    c->called[c->n].s = s;
    s->ops->set_handler(s, &echo_handler, &c->called[c->n]);
    c->all_called = ++c->n == CROWD;
}

static bool
crowd_listen(struct contract_world *w, struct crowd *c, uint32_t *port)
{
    struct transport_listener *listener;
    int r = -EADDRINUSE;

    for (*port = w->port; r == -EADDRINUSE && *port < w->port + CONTRACT_PORTS;)
        r = w->host->ops->listen(w->host, (*port)++, crowd_on_accept, c, &listener, NULL);
    --*port;
    CHECK(r == 0);
    return true;
}

static bool
crowd_dial(struct contract_world *w, struct crowd *c, uint32_t port)
{
    for (unsigned i = 0; i < CROWD; i++) {
        if (i >= DIALS_AT_A_TIME)
            CHECK(w->run_until(w, &c->callers[i - DIALS_AT_A_TIME].done));
        CHECK(end_connect(&c->callers[i], w->guest, w->host_cid, port) == 0);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        CHECK(w->run_until(w, &c->callers[i].done));
        CHECK(c->callers[i].s);
    }
    CHECK(w->run_until(w, &c->all_called));
    return true;
}

static bool
a_thousand_connections_are_open_at_a_time(struct contract_world *w)
{
    VMT_CLEANUP(crowd_free) struct crowd *c = calloc(1, sizeof(*c));
    uint32_t port;

    CHECK(c);
    CHECK(add_both(w));
    CHECK(crowd_listen(w, c, &port));
    CHECK(crowd_dial(w, c, port));
    for (uint32_t i = 0; i < CROWD; i++) {
        struct end *e = &c->callers[i];

        e->want = sizeof(i);
        CHECK(!e->ended);
        CHECK(e->s->ops->send(e->s, &i, sizeof(i), NULL, 0) == 0);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        struct end *e = &c->callers[i];

        CHECK(w->run_until(w, &e->reached));
        CHECK(e->got.len == sizeof(i) && memcmp(e->got.data, &i, sizeof(i)) == 0);
    }
    return true;
}

static bool
a_listener_comes_and_goes_beside_connections(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};

    CHECK(add_both(w));
    CHECK(connect_pair(w, false, &a, &b));
    for (int round = 0; round < 20; round++) {
        VMT_CLEANUP(end_release) struct end c = {0}, d = {0}, e = {0};
        struct transport_listener *old = round > 0 ? NULL : b.listener;
        uint32_t port = w->port;

        if (old)
            w->host->ops->unlisten(old);
        CHECK(talk(w, &a, &b));
        CHECK(end_listen(&d, w->host, &port));
        CHECK(end_connect(&c, w->guest, w->host_cid, port) == 0);
        CHECK(w->run_until(w, &c.done) && w->run_until(w, &d.done));
        CHECK(c.s && d.s);
        w->host->ops->unlisten(d.listener);
        CHECK(talk(w, &c, &d));
        CHECK(talk(w, &a, &b));
        CHECK(end_connect(&e, w->guest, w->host_cid, port) == 0);
        CHECK(w->run_until(w, &e.done));
        CHECK(!e.s);
    }
    return true;
}

/* --- no descriptors --- */

struct hog {
    int fds[512];
    size_t n;
    struct rlimit limit;
};

/* Use every descriptor up, and let the last free ones go again. */
static bool
hog_take(struct hog *h, unsigned leave)
{
    struct rlimit low;

    CHECK(getrlimit(RLIMIT_NOFILE, &h->limit) == 0);
    low = h->limit;
    low.rlim_cur = VMT_ARRAY_SIZE(h->fds);
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (;;) {
        int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
            break;
        h->fds[h->n++] = fd;
    }
    CHECK(h->n > leave);
    while (leave-- > 0)
        (void)close(h->fds[--h->n]);
    return true;
}

static void
hog_release(struct hog *h)
{
    while (h->n > 0)
        (void)close(h->fds[--h->n]);
    if (h->limit.rlim_max)
        (void)setrlimit(RLIMIT_NOFILE, &h->limit);
}

/* The caller gets the last descriptor, none is left to accept with. */
static bool
a_listener_without_descriptors_waits_and_goes_on(struct contract_world *w)
{
    VMT_CLEANUP(hog_release) struct hog hog = {.n = 0};
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0};
    uint32_t port = w->port;

    if (!w->has_fds)
        return true;
    CHECK(add_both(w));
    CHECK(end_listen(&b, w->host, &port));
    CHECK(hog_take(&hog, 1));
    CHECK(end_connect(&a, w->guest, w->host_cid, port) == 0);
    /* A listener that tried again at once would turn many thousand times. */
    CHECK(w->turns_within(w, 500) < 200);
    CHECK(!b.done);
    hog_release(&hog);
    CHECK(w->run_until(w, &a.done) && w->run_until(w, &b.done));
    return talk(w, &a, &b);
}

static bool
a_dial_without_descriptors_fails_and_works_later(struct contract_world *w)
{
    VMT_CLEANUP(hog_release) struct hog hog = {.n = 0};
    VMT_CLEANUP(end_release) struct end a = {0}, b = {0}, early = {0};
    uint32_t port = w->port;
    int r;

    if (!w->has_fds)
        return true;
    CHECK(add_both(w));
    CHECK(end_listen(&b, w->guest, &port));
    CHECK(hog_take(&hog, 0));
    r = end_connect(&early, w->host, w->vm_cid, port);
    if (r == 0) {
        CHECK(w->run_until(w, &early.done));
        CHECK(!early.s && early.why[0]);
        r = -early.code;
    }
    CHECK(r == -EMFILE);
    hog_release(&hog);
    CHECK(end_connect(&a, w->host, w->vm_cid, port) == 0);
    CHECK(w->run_until(w, &a.done) && a.s);
    CHECK(w->run_until(w, &b.done));
    return talk(w, &a, &b);
}

/* --- a process that is killed --- */

static void
kill_child(pid_t *child)
{
    if (*child <= 0)
        return;
    (void)kill(*child, SIGKILL);
    (void)waitpid(*child, NULL, 0);
    *child = 0;
}

static bool
a_peer_that_is_killed_is_the_end_of_its_stream(struct contract_world *w)
{
    VMT_CLEANUP(end_release) struct end b = {0}, c = {0}, d = {0};
    VMT_CLEANUP(kill_child) pid_t child = -1;
    uint32_t port = w->port;

    if (!w->speak_and_wait)
        return true;
    CHECK(add_both(w));
    CHECK(end_listen(&b, w->host, &port));
    child = fork();
    if (child == 0) {
        w->speak_and_wait(w, port);
        _exit(1);
    }
    CHECK(child > 0);
    CHECK(w->run_until(w, &b.done));
    CHECK(expect_text(w, &b, "alive"));
    CHECK(!b.ended);
    kill_child(&child);
    CHECK(w->run_until(w, &b.ended));
    CHECK(!w->tells_cuts || b.status < 0);
    /* Nobody else notices. */
    w->host->ops->unlisten(b.listener);
    return connect_pair(w, false, &c, &d) && talk(w, &c, &d);
}

const struct contract_check contract_load[] = {
    {"bulk_goes_through_whole_and_bounded", bulk_goes_through_whole_and_bounded},
    {"a_reader_that_pauses_stops_the_writer", a_reader_that_pauses_stops_the_writer},
    {"a_thousand_connections_are_open_at_a_time",
     a_thousand_connections_are_open_at_a_time},
    {"a_listener_comes_and_goes_beside_connections",
     a_listener_comes_and_goes_beside_connections},
    {"a_listener_without_descriptors_waits_and_goes_on",
     a_listener_without_descriptors_waits_and_goes_on},
    {"a_dial_without_descriptors_fails_and_works_later",
     a_dial_without_descriptors_fails_and_works_later},
    {"a_peer_that_is_killed_is_the_end_of_its_stream",
     a_peer_that_is_killed_is_the_end_of_its_stream},
};
const size_t contract_nload = VMT_ARRAY_SIZE(contract_load);
