/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile client: the input is what it sends, after one byte that says in how large
 * pieces it arrives, and by its high bit whether the handlers of streams pause at each
 * request. */
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/rpc/health.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/rpc/wire.h"

#define PAUSE 0x80u

/* Let the handlers that paused take one more request each, until none is left. */
static void
fuzz_resume(struct rpctest *test, struct wire_clock *clock, struct wire *wire)
{
    size_t taken;

    do {
        taken = test->taken;
        for (size_t i = 0; i < VMT_ARRAY_SIZE(test->streams); i++) {
            if (test->streams[i].call)
                rpc_server_call_pause(test->streams[i].call, false);
        }
        wire_settle(clock, wire);
    } while (test->taken > taken);
}

static void
fuzz_on_drained(void *arg)
{
    (*(int *)arg)++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct rpc_server_config config = {
        .streams_max = 8, .message_max = 65536, .idle_ms = 10000};
    struct rpctest test = {.encoding = RPC_GZIP};
    struct rpc_server *server;
    struct wire_clock clock;
    struct wire wire;
    int drained = 0;

    if (size < 1)
        return 0;
    wire_clock_init(&clock);
    wire_init(&wire);
    if (rpc_server_new(&clock.base, &config, &server, NULL) < 0 ||
        rpc_server_add(server, &rpctest_service, &test, NULL) < 0 ||
        rpc_server_add_standard(server, NULL) < 0)
        abort();
    rpc_server_accept(server, &wire.ends[1].base, NULL);
    wire.chunk = data[0] & ~PAUSE;
    test.pause_each = data[0] & PAUSE;
    if (vmt_buf_append(&wire.ends[0].out, data + 1, size - 1) < 0)
        abort();
    wire_settle(&clock, &wire);
    fuzz_resume(&test, &clock, &wire);
    (void)rpc_health_set(server, "", RPC_HEALTH_NOT_SERVING); /* somebody may watch */
    wire_settle(&clock, &wire);
    wire_advance(&clock, &wire, 15000); /* deadlines and the idle limit */
    if (rpc_server_drain(server, 60000, fuzz_on_drained, &drained, NULL) < 0)
        abort();
    wire_advance(&clock, &wire, 20000); /* the times of set-up and goodbye */
    wire_advance(&clock, &wire, 60000);
    if (drained != 1)
        abort();
    rpc_server_free(server);
    wire_done(&wire);
    if (clock.ntimers != 0)
        abort();
    return 0;
}
