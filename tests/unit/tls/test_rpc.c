/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls over TLS: the handler learns who calls. */
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

struct rpc_world {
    struct tls_world *w;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpctest test;
    enum rpc_code code;
    unsigned done;
};

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct rpc_world *r = arg;

    r->code = status->code;
    r->done++;
}

static const struct rpc_client_handler call_handler = {.on_done = on_done};

static void
setup(struct rpc_world *r, struct tls_world *w)
{
    struct vmt_clock *clock = fake_clock_base(w->clock);

    r->w = w;
    tls_world_wire(w);
    w->c.no_handler = w->s.no_handler = true;
    tls_world_connect(w);
    assert_int_equal(rpc_server_new(clock, NULL, &r->server, NULL), 0);
    assert_int_equal(rpc_server_add(r->server, &rpctest_service, &r->test, NULL), 0);
    rpc_server_accept(r->server, vmt_take_ptr(&w->s.s), NULL);
    assert_int_equal(rpc_client_new(clock, vmt_take_ptr(&w->c.s), NULL, &r->client, NULL),
                     0);
}

static void
call(struct rpc_world *r, const char *path)
{
    const Vmt__Rpctest__Request message = rpctest_request();
    const struct rpc_client_request request = {
        .path = path,
        .reply = &vmt__rpctest__reply__descriptor,
        .handler = &call_handler,
        .arg = r,
    };

    assert_int_equal(rpc_client_start(r->client, &request, &message.base, NULL, NULL), 0);
    tls_world_run(r->w);
}

static void
a_call_goes_over_tls(void **state)
{
    struct rpc_world r = {0};

    setup(&r, *state);
    call(&r, RPCTEST_PATH("Echo"));
    assert_int_equal(r.done, 1);
    assert_int_equal(r.code, RPC_OK);
    rpc_client_free(r.client);
    rpc_server_free(r.server);
}

/* The handler is not done when the connection is: what it was told stays true. */
static void
the_handler_knows_the_caller_longer_than_the_connection_lasts(void **state)
{
    struct rpc_world r = {.test.keep_on_cancel = true};
    const struct stream_peer *peer;

    setup(&r, *state);
    call(&r, RPCTEST_PATH("Hang"));
    assert_non_null(r.test.hung);
    peer = rpc_server_call_peer(r.test.hung);
    assert_int_equal(peer->kind, STREAM_PEER_TLS);
    assert_int_equal(peer->identity_kind, STREAM_IDENTITY_URI);
    assert_string_equal(peer->identity, "spiffe://test/client");
    rpc_client_free(r.client);
    tls_world_run(r.w);
    assert_string_equal(rpc_server_call_peer(r.test.hung)->identity,
                        "spiffe://test/client");
    rpc_server_call_fail(r.test.hung, RPC_UNAVAILABLE, "done");
    rpc_server_free(r.server);
}

#define RPC_TEST(f)                                                                      \
    cmocka_unit_test_setup_teardown(f, tls_world_setup, tls_world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RPC_TEST(a_call_goes_over_tls),
        RPC_TEST(the_handler_knows_the_caller_longer_than_the_connection_lasts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
