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
#include "tests/contract/transport/end.h"

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
    CHECK(b.peer.kind == w->peer_kind);
    CHECK(!w->identity || strcmp(b.peer.identity, w->identity) == 0);
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
                          w->port + CONTRACT_PORTS - 1) == 0);
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
    struct transport_dial dial = {.timeout_ms = 50, .on_done = end_on_done, .arg = &a};

    CHECK(add_both(w));
    w->set_hung(w, true);
    dial.cid = w->vm_cid;
    dial.port = w->port;
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
    CHECK(w->host->ops->listen(w->host, port, end_on_accept, &c, &c.listener, NULL) ==
          -EADDRINUSE);
    w->host->ops->unlisten(b.listener);
    CHECK(w->host->ops->listen(w->host, port, end_on_accept, &c, &c.listener, NULL) == 0);
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

const struct contract_check contract_basic[] = {
    {"host_reaches_guest", host_reaches_guest},
    {"guest_reaches_host_and_is_known", guest_reaches_host_and_is_known},
    {"the_first_bytes_of_the_called_are_not_lost",
     the_first_bytes_of_the_called_are_not_lost},
    {"an_unknown_vm_is_refused_at_once", an_unknown_vm_is_refused_at_once},
    {"a_port_without_listener_fails_once_with_words",
     a_port_without_listener_fails_once_with_words},
    {"a_vm_is_added_once", a_vm_is_added_once},
    {"a_cancelled_connection_says_nothing", a_cancelled_connection_says_nothing},
    {"a_connection_is_cancelled_halfway", a_connection_is_cancelled_halfway},
    {"a_hung_vm_costs_no_more_than_the_deadline",
     a_hung_vm_costs_no_more_than_the_deadline},
    {"a_listener_serves_vms_that_come_later", a_listener_serves_vms_that_come_later},
    {"who_was_not_added_does_not_get_in", who_was_not_added_does_not_get_in},
    {"a_removed_vm_keeps_its_streams_and_makes_no_new_ones",
     a_removed_vm_keeps_its_streams_and_makes_no_new_ones},
    {"a_port_has_one_listener_at_a_time", a_port_has_one_listener_at_a_time},
    {"after_unlisten_nobody_gets_in", after_unlisten_nobody_gets_in},
    {"unlisten_and_close_from_inside_accept_are_safe",
     unlisten_and_close_from_inside_accept_are_safe},
    {"half_close_leaves_the_other_way_open", half_close_leaves_the_other_way_open},
    {"bulk_arrives_whole_both_ways_at_once", bulk_arrives_whole_both_ways_at_once},
    {"free_ends_listeners_and_connections_without_a_word",
     free_ends_listeners_and_connections_without_a_word},
};
const size_t contract_nbasic = VMT_ARRAY_SIZE(contract_basic);

static int
run_checks(const char *name, contract_make_fn *make, const struct contract_check *checks,
           size_t n)
{
    int failed = 0;

    for (size_t i = 0; i < n; i++) {
        struct contract_world *w = make();
        bool ok;

        if (!w) {
            (void)printf("FAIL %s: no world to be had\n", name);
            return -1;
        }
        ok = checks[i].run(w);
        w->free(w);
        failed += !ok;
        (void)printf("%s %s: %s\n", ok ? "ok  " : "FAIL", name, checks[i].name);
        (void)fflush(stdout);
    }
    return failed;
}

int
transport_contract_run(const char *name, contract_make_fn *make)
{
    int basic = run_checks(name, make, contract_basic, contract_nbasic);
    int load = basic < 0 ? -1 : run_checks(name, make, contract_load, contract_nload);

    if (load < 0)
        return -1;
    (void)printf("%s: %zu checks, %d failed\n", name, contract_nbasic + contract_nload,
                 basic + load);
    return basic + load;
}
