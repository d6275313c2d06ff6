/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/server_bed.h"

#include <string.h>

#include "tests/unit/test.h"

void
bed_init(struct bed *bed, const struct rpc_server_config *config)
{
    memset(bed, 0, sizeof(*bed));
    wire_clock_init(&bed->clock);
    wire_init(&bed->wire);
    assert_int_equal(rpc_server_new(&bed->clock.base, config, &bed->server, NULL), 0);
    assert_int_equal(rpc_server_add(bed->server, &rpctest_service, &bed->test, NULL), 0);
    rpc_server_accept(bed->server, &bed->wire.ends[1].base, NULL);
    raw_init(&bed->raw, &bed->wire.ends[0].base, false);
}

void
bed_done(struct bed *bed)
{
    raw_done(&bed->raw);
    rpc_server_free(bed->server);
    wire_done(&bed->wire);
    assert_int_equal(bed->clock.ntimers, 0);
}

void
bed_settle(struct bed *bed)
{
    wire_settle(&bed->clock, &bed->wire);
}
