/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile server: the input is what it sends to a client with four calls open, after
 * one byte that says in how large pieces it arrives, and by its high bit whether calls
 * pause at each reply. Whatever comes, every call is answered exactly once. */
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/rpc/client.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/rpc/wire.h"

#define PAUSE 0x80u

struct fuzz_call {
    struct rpc_client_call *call; /* NULL when over */
    size_t messages, dones;
    bool server_streams, pause;
};

static void
fuzz_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                size_t nfds)
{
    struct fuzz_call *call = arg;

    (void)reply, (void)fds, (void)nfds;
    call->messages++;
    if (call->pause)
        rpc_client_pause(call->call, true);
    if (call->dones > 0 || (!call->server_streams && call->messages > 1))
        abort();
}

static void
fuzz_on_done(void *arg, const struct rpc_status *status)
{
    struct fuzz_call *call = arg;

    call->call = NULL;
    if (call->dones++ > 0 || (unsigned)status->code >= RPC_CODE_COUNT)
        abort();
}

static const struct rpc_client_handler fuzz_handler = {.on_message = fuzz_on_message,
                                                       .on_done = fuzz_on_done};

static void
fuzz_start(struct rpc_client *client, struct fuzz_call *call, bool streams)
{
    const Vmt__Rpctest__Request message = rpctest_request();
    const struct rpc_client_request request = {.path = RPCTEST_PATH("Echo"),
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .server_streams = streams,
                                               .timeout_ms = 30000,
                                               .handler = &fuzz_handler,
                                               .arg = call};

    call->server_streams = streams;
    if (rpc_client_start(client, &request, &message.base, &call->call, NULL) < 0)
        abort();
}

/* Let each call take one more reply. Returns whether any did or ended. */
static bool
fuzz_resume(struct fuzz_call *calls, size_t n, struct wire_clock *clock,
            struct wire *wire)
{
    size_t before = 0, after = 0;

    for (size_t i = 0; i < n; i++) {
        before += calls[i].messages + calls[i].dones;
        if (calls[i].call)
            rpc_client_pause(calls[i].call, false);
    }
    wire_settle(clock, wire);
    for (size_t i = 0; i < n; i++)
        after += calls[i].messages + calls[i].dones;
    return after > before;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_call calls[4] = {{0}};
    struct rpc_client *client;
    struct wire_clock clock;
    struct wire wire;

    if (size < 1)
        return 0;
    wire_clock_init(&clock);
    wire_init(&wire);
    if (rpc_client_new(&clock.base, &wire.ends[0].base, NULL, &client, NULL) < 0)
        abort();
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++) {
        calls[i].pause = data[0] & PAUSE;
        fuzz_start(client, &calls[i], i % 2 == 1);
    }
    while (wire_clock_run(&clock))
        continue;
    wire.chunk = data[0] & ~PAUSE;
    if (vmt_buf_append(&wire.ends[1].out, data + 1, size - 1) < 0)
        abort();
    wire_settle(&clock, &wire);
    while (fuzz_resume(calls, VMT_ARRAY_SIZE(calls), &clock, &wire))
        continue;
    wire_advance(&clock, &wire, 60000);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++) {
        if (calls[i].dones != 1)
            abort();
    }
    rpc_client_free(client);
    wire_done(&wire);
    if (clock.ntimers != 0)
        abort();
    return 0;
}
