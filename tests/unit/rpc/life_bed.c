/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/life_bed.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

#define BYTES(literal) (literal), (sizeof(literal) - 1)

void
bed_init_wire(struct bed *bed)
{
    memset(bed, 0, sizeof(*bed));
    wire_clock_init(&bed->clock);
    wire_init(&bed->wire);
}

void
bed_init_server_at(struct bed *bed, const struct rpc_server_config *config, uint64_t ms)
{
    bed_init_wire(bed);
    bed->clock.now_ms += ms;
    assert_int_equal(rpc_server_new(&bed->clock.base, config, &bed->server, NULL), 0);
    assert_int_equal(rpc_server_add(bed->server, &rpctest_service, &bed->test, NULL), 0);
    rpc_server_accept(bed->server, &bed->wire.ends[1].base, NULL);
    raw_init(&bed->raw, &bed->wire.ends[0].base, false);
    wire_settle(&bed->clock, &bed->wire);
}

void
bed_init_server(struct bed *bed, const struct rpc_server_config *config)
{
    bed_init_server_at(bed, config, 0);
}

static void
bed_on_closed(void *arg, const char *reason)
{
    struct bed *bed = arg;

    bed->closed++;
    (void)snprintf(bed->reason, sizeof(bed->reason), "%s", reason);
}

void
bed_init_client_to(struct bed *bed, const struct rpc_client_config *config, bool silent)
{
    struct rpc_client_config copy = *config;

    copy.on_closed = bed_on_closed;
    copy.arg = bed;
    bed_init_wire(bed);
    bed->wire.stall[1] = silent;
    raw_init(&bed->raw, &bed->wire.ends[1].base, true);
    assert_int_equal(rpc_client_new(&bed->clock.base, &bed->wire.ends[0].base, &copy,
                                    &bed->client, NULL),
                     0);
    wire_settle(&bed->clock, &bed->wire);
}

void
bed_init_client(struct bed *bed, const struct rpc_client_config *config)
{
    bed_init_client_to(bed, config, false);
}

void
bed_done(struct bed *bed)
{
    rpc_client_free(bed->client);
    raw_done(&bed->raw);
    rpc_server_free(bed->server);
    wire_done(&bed->wire);
    assert_int_equal(bed->clock.ntimers, 0);
}

void
bed_advance(struct bed *bed, uint64_t ms)
{
    wire_advance(&bed->clock, &bed->wire, ms);
}

void
bed_settle(struct bed *bed)
{
    raw_flush(&bed->raw);
    bed_advance(bed, 0);
}

bool
bed_is_closed(const struct bed *bed)
{
    return bed->wire.ends[bed->server ? 1 : 0].closed;
}

void
bed_ping(struct bed *bed)
{
    assert_int_equal(nghttp2_submit_ping(bed->raw.session, 0, NULL), 0);
    bed_settle(bed);
}

int32_t
bed_ask(struct bed *bed, const char *const *fields)
{
    int32_t id = raw_request(&bed->raw, fields, BYTES("\0\0\0\0\0"), true);

    bed_settle(bed);
    return id;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct bed *bed = arg;

    bed->dones++;
    bed->status = *status;
}

void
bed_call(struct bed *bed)
{
    static const struct rpc_client_handler handler = {.on_done = on_done};
    const Vmt__Rpctest__Request message = rpctest_request();
    const struct rpc_client_request request = {.path = RPCTEST_PATH("Echo"),
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .handler = &handler,
                                               .arg = bed};

    assert_int_equal(rpc_client_start(bed->client, &request, &message.base, NULL, NULL),
                     0);
    bed_settle(bed);
}
