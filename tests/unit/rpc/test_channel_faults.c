/* SPDX-License-Identifier: BSD-3-Clause */
/* Whatever happens to a channel, each of its calls is answered exactly once. */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/rpc/alloc.h"
#include "tests/unit/rpc/channel_bed.h"
#include "tests/unit/test.h"

static const char *const paths[] = {RPCTEST_PATH("Echo"),  RPCTEST_PATH("Hang"),
                                    RPCTEST_PATH("Count"), RPCTEST_PATH("Collect"),
                                    RPCTEST_PATH("Chat"),  "/no/Such"};

#define CALLS VMT_ARRAY_SIZE(paths)

/* One call of each kind, some of which wait for ready. */
static void
start_all(struct bed *bed, struct probe *probes, const struct rpc_metadata *metadata)
{
    memset(probes, 0, CALLS * sizeof(*probes));
    for (size_t i = 0; i < CALLS; i++) {
        probes[i].wait_for_ready = i % 2 == 0;
        probes[i].client_streams = i == 3 || i == 4;
        probes[i].metadata = metadata;
        if (bed_start(bed, &probes[i], paths[i], 3, 5000) < 0 ||
            !probes[i].client_streams)
            continue;
        (void)probe_send(&probes[i], 1);
        (void)probe_send(&probes[i], 2);
        rpc_channel_half_close(probes[i].call);
    }
}

static void
check_answered_once(const struct probe *probes, size_t n, uint64_t which)
{
    for (size_t i = 0; i < n; i++) {
        if (probes[i].dones != probes[i].started)
            fail_msg("%llu: call %zu was answered %zu times", (unsigned long long)which,
                     i, probes[i].dones);
    }
}

static void
a_failed_allocation_anywhere_loses_no_call(void **state)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata metadata = {0};
    bool reached = true;
    size_t n;

    (void)state;
    assert_int_equal(rpc_metadata_add(&metadata, "k", "v", 1), 0);
    for (n = 0; reached; n++) {
        struct probe probes[CALLS];
        struct bed bed;

        bed_init(&bed, NULL);
        alloc_fail_after(n);
        start_all(&bed, probes, &metadata);
        bed_run(&bed);
        if (bed.on_done)
            bed_refuse(&bed, ECONNREFUSED, "no");
        bed_advance(&bed, 1000);
        if (bed.on_done)
            bed_serve(&bed);
        bed_advance(&bed, 1000);
        reached = alloc_fail_over();
        bed_advance(&bed, 5000);
        check_answered_once(probes, CALLS, n);
        if (bed.test.hung)
            rpc_server_call_fail(bed.test.hung, RPC_ABORTED, "test over");
        bed_done(&bed);
    }
    assert_true(n > 10 * CALLS); /* or the allocator is not ours */
}

static void
a_failed_allocation_in_setting_up_leaves_nothing(void **state)
{
    const struct rpc_channel_config config = {.client.authority = "somebody"};
    bool reached = true;

    (void)state;
    for (size_t n = 0; reached; n++) {
        struct rpc_channel *channel = NULL;
        struct bed bed;

        bed_init(&bed, NULL);
        bed_free_channel(&bed);
        bed.frees = 0;
        alloc_fail_after(n);
        if (rpc_channel_new(bed.clock, &bed.connector, &config, &channel, NULL) < 0)
            connector_free(&bed.connector); /* still ours */
        reached = alloc_fail_over();
        rpc_channel_free(channel);
        bed_done(&bed);
    }
}

struct cutter {
    struct bed *bed;
    size_t turns; /* left */
    int status;
};

/* The clock runs what is due now in order, so this falls between any two steps. */
static void
cutter_on_turn(void *arg)
{
    struct cutter *cutter = arg;
    struct vmt_clock *clock = cutter->bed->clock;
    struct vmt_timer *timer;

    if (cutter->turns-- > 0)
        assert_int_equal(
            clock->ops->timer_start(clock, 0, cutter_on_turn, cutter, &timer), 0);
    else
        fake_stream_break(cutter->bed->ours, cutter->status);
}

static void
a_cut_at_any_turn_answers_every_call_once(void **state)
{
    size_t last = 0;

    (void)state;
    for (size_t turns = 0; turns < 40; turns++) {
        struct cutter cutter = {.turns = turns,
                                .status = turns % 2 ? -ECONNRESET : -EPIPE};
        struct probe probes[CALLS];
        struct bed bed;
        size_t ok = 0;

        cutter.bed = &bed;
        bed_init(&bed, NULL);
        start_all(&bed, probes, NULL);
        bed_run(&bed);
        bed_open(&bed);
        fake_stream_set_chunk(bed.ours, 50);
        cutter_on_turn(&cutter);
        bed_advance(&bed, 10000);
        check_answered_once(probes, CALLS, turns);
        for (size_t i = 0; i < CALLS; i++)
            ok += probes[i].status.code == RPC_OK;
        assert_true(turns > 0 || ok == 0);
        last = ok;
        bed_done(&bed);
    }
    assert_int_equal(last, 4);
}

/* xorshift64* of Marsaglia and Vigna. */
static uint32_t
chance(uint64_t *random, uint32_t n)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return (uint32_t)((*random * 0x2545f4914f6cdd1du) >> 33) % n;
}

#define WALK_CALLS 300

struct walk {
    struct bed bed;
    struct probe probes[WALK_CALLS];
    size_t n;
    uint64_t random;
    bool serving; /* the newest connection is to the server */
};

static void
walk_start(struct walk *w)
{
    struct probe *probe = &w->probes[w->n];
    size_t kind = chance(&w->random, CALLS);

    if (w->n == WALK_CALLS)
        return;
    w->n++;
    probe->wait_for_ready = chance(&w->random, 2);
    probe->client_streams = kind == 3 || kind == 4;
    (void)bed_start(&w->bed, probe, paths[kind], 3,
                    chance(&w->random, 3) ? 1 + chance(&w->random, 4000) : 0);
}

static void
walk_touch(struct walk *w)
{
    struct probe *probe = &w->probes[w->n ? chance(&w->random, (uint32_t)w->n) : 0];

    if (!probe->call)
        return;
    if (probe->client_streams && chance(&w->random, 2)) {
        (void)probe_send(probe, 1);
        return;
    }
    if (probe->client_streams && chance(&w->random, 2)) {
        rpc_channel_half_close(probe->call);
        return;
    }
    rpc_channel_cancel(probe->call);
    probe->call = NULL;
    probe->started = false; /* not heard of any more */
}

static void
walk_attempt(struct walk *w)
{
    uint32_t how = chance(&w->random, 4);

    if (!w->bed.on_done)
        return;
    if (how == 0)
        bed_refuse(&w->bed, ECONNREFUSED, "no");
    else if (how == 1)
        bed_connect(&w->bed);
    else
        bed_serve(&w->bed);
    w->serving = how > 1;
}

static void
walk_break(struct walk *w)
{
    if (w->serving && rpc_channel_state(w->bed.channel) == RPC_CHANNEL_READY)
        fake_stream_break(w->bed.ours, chance(&w->random, 2) ? -EPIPE : -ECONNRESET);
    w->serving = false;
}

static void
walk_step(struct walk *w)
{
    uint32_t what = chance(&w->random, 100);

    w->bed.refuse_at_once = chance(&w->random, 8) == 0;
    if (what < 30)
        walk_start(w);
    else if (what < 40)
        walk_touch(w);
    else if (what < 65)
        walk_attempt(w);
    else if (what < 72)
        walk_break(w);
    else if (what < 74)
        assert_int_equal(rpc_channel_reset_backoff(w->bed.channel), 0);
    else if (what < 76)
        assert_int_equal(rpc_channel_connect(w->bed.channel), 0);
    else
        bed_advance(&w->bed, chance(&w->random, 700));
}

/* Shut down with calls in every state; those at the server end with their connection. */
static void
walk_end(struct walk *w, uint64_t seed)
{
    assert_int_equal(rpc_channel_shutdown(w->bed.channel), 0);
    bed_advance(&w->bed, 1);
    rpc_server_free(w->bed.server);
    w->bed.server = NULL;
    stream_close(w->bed.theirs);
    w->bed.theirs = NULL;
    bed_advance(&w->bed, 100000);
    check_answered_once(w->probes, w->n, seed);
    bed_done(&w->bed);
}

static void
every_walk_answers_every_call_once(void **state)
{
    const struct rpc_channel_config config = {.waiting_max = 40, .seed = 3};
    size_t answered = 0, ok = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct walk w = {.random = seed * 0x9e3779b97f4a7c15u};

        bed_init(&w.bed, &config);
        for (int i = 0; i < 400; i++)
            walk_step(&w);
        walk_end(&w, seed);
        for (size_t i = 0; i < w.n; i++) {
            answered += w.probes[i].dones;
            ok += w.probes[i].dones && w.probes[i].status.code == RPC_OK;
        }
    }
    /* The walks went somewhere. */
    assert_true(answered > 10000);
    assert_true(ok > 1000);
}

/* The turn that goes on with it may be the one that there is no memory for. */
static void
a_call_that_is_started_again_ends_without_memory(void **state)
{
    bool reached = true;
    size_t n;

    (void)state;
    for (n = 0; reached; n++) {
        VMT_CLEANUP(bed_done) struct bed bed;
        struct probe probe = {.again = 30};

        bed_init(&bed, NULL);
        assert_int_equal(rpc_channel_connect(bed.channel), 0);
        bed_run(&bed);
        bed_refuse(&bed, ECONNREFUSED, "no");
        assert_int_equal(bed_start(&bed, &probe, RPCTEST_PATH("Echo"), 1, 0), 0);
        alloc_fail_after(n);
        bed_run(&bed);
        reached = alloc_fail_over();
        assert_null(probe.call);
        assert_true(probe.dones > 0);
    }
    assert_true(n > 30);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_allocation_anywhere_loses_no_call),
        cmocka_unit_test(a_failed_allocation_in_setting_up_leaves_nothing),
        cmocka_unit_test(a_cut_at_any_turn_answers_every_call_once),
        cmocka_unit_test(every_walk_answers_every_call_once),
        cmocka_unit_test(a_call_that_is_started_again_ends_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
