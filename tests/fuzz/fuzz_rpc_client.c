/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile server: the input is what it sends to a client with four calls open, after
 * one byte that says in how large pieces it arrives. Whatever comes, every call is
 * answered exactly once. */
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/rpc/client.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/rpc/wire.h"

struct fuzz_call {
    size_t messages, dones;
    bool server_streams;
};

static void
fuzz_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                size_t nfds)
{
    struct fuzz_call *call = arg;

    (void)reply, (void)fds, (void)nfds;
    call->messages++;
    if (call->dones > 0 || (!call->server_streams && call->messages > 1))
        abort();
}

static void
fuzz_on_done(void *arg, const struct rpc_status *status)
{
    struct fuzz_call *call = arg;

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
    if (rpc_client_start(client, &request, &message.base, NULL, NULL) < 0)
        abort();
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
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++)
        fuzz_start(client, &calls[i], i % 2 == 1);
    while (wire_clock_run(&clock))
        continue;
    wire.chunk = data[0];
    if (vmt_buf_append(&wire.ends[1].out, data + 1, size - 1) < 0)
        abort();
    wire_settle(&clock, &wire);
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
