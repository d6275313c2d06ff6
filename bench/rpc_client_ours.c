/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/rpc_client_ours.c - core/rpc as a client, for bench/rpc.
 * Usage: bench_rpc_client_ours PORT CONNECTIONS OUTSTANDING CALLS; on each connection to
 * 127.0.0.1 that many calls of 30 bytes are in flight. A tenth more comes first and is
 * not counted. Prints calls per second, p50 and p99 of one call, and CPU time per call,
 * the last three in microseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/adapter/connector.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/rpc/channel.h"
#include "platform/linux/os/connectors.h"
#include "platform/linux/os/loop.h"

#include "echo.pb-c.h"

#define CONNECTIONS_MAX 64u
#define OUTSTANDING_MAX 64u
#define CALLS_MAX 100000000u
#define DATA_BYTES 30u

struct load;

/* One of the calls in flight, started again as soon as it is over. */
struct lane {
    struct load *load;           /* borrowed */
    struct rpc_channel *channel; /* borrowed */
    uint64_t began_ns;
};

/* Each pointer owned. */
struct load {
    struct os_loop *loop;
    struct rpc_channel *channels[CONNECTIONS_MAX];
    struct lane *lanes;
    uint64_t *took_ns; /* of each call that counts */
    size_t warm, calls, started, done;
    uint64_t began_ns, began_cpu_ns;
    int failed;
};

static uint64_t
now_ns(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
load_done(struct load *l)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        rpc_channel_free(l->channels[i]);
    free(l->lanes);
    free(l->took_ns);
    os_loop_free(l->loop);
}

static void
load_fail(struct load *l, const char *why)
{
    vmt_log_error("a call failed: %s", why);
    l->failed = 1;
    os_loop_stop(l->loop, 0);
}

static void lane_start(struct lane *lane);

static void
lane_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                size_t nfds)
{
    const Vmt__Bench__Payload *payload = (const Vmt__Bench__Payload *)reply;
    struct lane *lane = arg;

    (void)fds, (void)nfds;
    if (payload->data.len != DATA_BYTES)
        load_fail(lane->load, "the answer is not the request");
}

static void
lane_on_done(void *arg, const struct rpc_status *status)
{
    struct lane *lane = arg;
    struct load *l = lane->load;
    uint64_t now = now_ns(CLOCK_MONOTONIC);

    if (status->code != RPC_OK) {
        load_fail(l, status->text);
        return;
    }
    if (l->done >= l->warm)
        l->took_ns[l->done - l->warm] = now - lane->began_ns;
    l->done++;
    if (l->done == l->warm) {
        l->began_ns = now;
        l->began_cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    }
    if (l->started < l->warm + l->calls)
        lane_start(lane);
    else if (l->done == l->warm + l->calls)
        os_loop_stop(l->loop, 0);
}

static void
lane_start(struct lane *lane)
{
    static const struct rpc_client_handler handler = {.on_message = lane_on_message,
                                                      .on_done = lane_on_done};
    static uint8_t data[DATA_BYTES];
    const struct rpc_client_request request = {
        .path = "/vmt.bench.Echo/Unary",
        .reply = &vmt__bench__payload__descriptor,
        .handler = &handler,
        .arg = lane,
        .wait_for_ready = true,
    };
    Vmt__Bench__Payload payload = VMT__BENCH__PAYLOAD__INIT;
    struct vmt_err err;

    payload.data.data = data;
    payload.data.len = sizeof(data);
    lane->load->started++;
    lane->began_ns = now_ns(CLOCK_MONOTONIC);
    if (rpc_channel_start(lane->channel, &request, &payload.base, NULL, &err) < 0)
        load_fail(lane->load, vmt_err_text(&err));
}

static int
load_connect(struct load *l, uint16_t port, size_t n, struct vmt_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct connector *connector = NULL;
        int r = connector_tcp_new(l->loop, "127.0.0.1", port, &connector, err);

        if (r == 0)
            r = rpc_channel_new(os_loop_clock(l->loop), connector, NULL, &l->channels[i],
                                err);
        if (r < 0) {
            connector_free(connector);
            return r;
        }
    }
    return 0;
}

static void
load_start(struct load *l, size_t connections, size_t outstanding)
{
    for (size_t i = 0; i < connections * outstanding; i++) {
        l->lanes[i] = (struct lane){.load = l, .channel = l->channels[i % connections]};
        lane_start(&l->lanes[i]);
    }
}

static int
by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* How long the call took that this many of 100 did not outlast. */
static double
load_percentile_us(const struct load *l, size_t percent)
{
    size_t at = l->calls * percent / 100;

    return (double)l->took_ns[at] / 1e3;
}

static void
load_report(struct load *l)
{
    uint64_t took = now_ns(CLOCK_MONOTONIC) - l->began_ns;
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - l->began_cpu_ns;

    qsort(l->took_ns, l->calls, sizeof(*l->took_ns), by_size);
    printf("%.1f %.2f %.2f %.3f\n", (double)l->calls * 1e9 / (double)took,
           load_percentile_us(l, 50), load_percentile_us(l, 99),
           (double)cpu / 1e3 / (double)l->calls);
}

static int
parse(int argc, char **argv, uint64_t ret[4])
{
    static const uint64_t max[4] = {UINT16_MAX, CONNECTIONS_MAX, OUTSTANDING_MAX,
                                    CALLS_MAX};

    for (int i = 0; i < 4; i++) {
        if (argc != 5 || vmt_parse_u64(argv[i + 1], max[i], &ret[i]) < 0 || ret[i] == 0) {
            (void)fprintf(stderr, "usage: %s PORT CONNECTIONS OUTSTANDING CALLS\n",
                          argv[0]);
            return -1;
        }
    }
    return 0;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(load_done) struct load l = {0};
    struct vmt_err err = {0};
    uint64_t n[4];

    os_process_init();
    vmt_log_init("bench_rpc_client_ours", NULL, NULL);
    if (parse(argc, argv, n) < 0)
        return EXIT_FAILURE;
    l.calls = n[3];
    l.warm = n[3] / 10 + 1;
    l.lanes = calloc(n[1] * n[2], sizeof(*l.lanes));
    l.took_ns = calloc(l.calls, sizeof(*l.took_ns));
    if (!l.lanes || !l.took_ns || os_loop_new(&l.loop, &err) < 0 ||
        load_connect(&l, (uint16_t)n[0], n[1], &err) < 0) {
        vmt_log_error("cannot begin: %s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    load_start(&l, n[1], n[2]);
    (void)os_loop_run(l.loop);
    if (l.failed)
        return EXIT_FAILURE;
    load_report(&l);
    return EXIT_SUCCESS;
}
