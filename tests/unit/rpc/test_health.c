/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/rpc/health.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/test.h"

#define TEST "vmt.rpctest.Test"
#define PATH(method) "/grpc.health.v1.Health/" method

/* A call and what came. */
struct asked {
    struct rpc_client_call *call;
    char seen[64]; /* one letter per message: S, N, U for the states, ? for others */
    char list[600];
    size_t dones;
    struct rpc_status status;
};

static char
letter(int status)
{
    static const char letters[] = {'?', 'S', 'N', 'U'};

    return status >= 0 && (size_t)status < sizeof(letters) ? letters[status] : '!';
}

static void
on_message(void *arg, const struct ProtobufCMessage *message, const int *fds, size_t nfds)
{
    const Grpc__Health__V1__HealthCheckResponse *response =
        (const Grpc__Health__V1__HealthCheckResponse *)message;
    struct asked *a = arg;
    size_t n = strlen(a->seen);

    (void)fds;
    assert_int_equal(nfds, 0);
    assert_true(n + 1 < sizeof(a->seen));
    a->seen[n] = letter((int)response->status);
}

static void
on_list(void *arg, const struct ProtobufCMessage *message, const int *fds, size_t nfds)
{
    const Grpc__Health__V1__HealthListResponse *response =
        (const Grpc__Health__V1__HealthListResponse *)message;
    struct asked *a = arg;

    (void)fds, (void)nfds;
    for (size_t i = 0; i < response->n_statuses; i++) {
        size_t n = strlen(a->list);

        (void)snprintf(a->list + n, sizeof(a->list) - n, "%s=%c ",
                       response->statuses[i]->key,
                       letter((int)response->statuses[i]->value->status));
    }
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct asked *a = arg;

    a->dones++;
    a->call = NULL;
    a->status = *status;
}

static const struct rpc_client_handler check_handler = {.on_message = on_message,
                                                        .on_done = on_done};
static const struct rpc_client_handler list_handler = {.on_message = on_list,
                                                       .on_done = on_done};

static void
start(struct pair *pair, struct asked *a, struct rpc_client_request *request,
      const char *service)
{
    Grpc__Health__V1__HealthCheckRequest message;

    grpc__health__v1__health_check_request__init(&message);
    message.service = (char *)(uintptr_t)service;
    memset(a, 0, sizeof(*a));
    request->reply = &grpc__health__v1__health_check_response__descriptor;
    request->handler = &check_handler;
    request->arg = a;
    assert_int_equal(
        rpc_client_start(pair->client, request, &message.base, &a->call, NULL), 0);
    wire_settle(&pair->clock, &pair->wire);
}

static enum rpc_code
check(struct pair *pair, const char *service, char *ret_seen)
{
    struct rpc_client_request request = {.path = PATH("Check")};
    struct asked a;

    start(pair, &a, &request, service);
    assert_int_equal(a.dones, 1);
    *ret_seen = a.seen[0];
    return a.status.code;
}

static void
watch(struct pair *pair, struct asked *a, const char *service, uint32_t timeout_ms)
{
    struct rpc_client_request request = {
        .path = PATH("Watch"), .server_streams = true, .timeout_ms = timeout_ms};

    start(pair, a, &request, service);
}

static void
list(struct pair *pair, struct asked *a)
{
    const struct rpc_client_request request = {
        .path = PATH("List"),
        .reply = &grpc__health__v1__health_list_response__descriptor,
        .handler = &list_handler,
        .arg = a};
    Grpc__Health__V1__HealthListRequest message;

    grpc__health__v1__health_list_request__init(&message);
    memset(a, 0, sizeof(*a));
    assert_int_equal(rpc_client_start(pair->client, &request, &message.base, NULL, NULL),
                     0);
    wire_settle(&pair->clock, &pair->wire);
    assert_int_equal(a->status.code, RPC_OK);
}

static void
begin(struct pair *pair)
{
    pair_init(pair, NULL);
    assert_int_equal(rpc_health_add(pair->server, NULL), 0);
}

static void
set(struct pair *pair, const char *service, enum rpc_health_status status)
{
    assert_int_equal(rpc_health_set(pair->server, service, status), 0);
}

static void
a_server_and_its_services_serve_until_told_otherwise(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    char seen;

    (void)state;
    begin(&pair);
    assert_int_equal(check(&pair, "", &seen), RPC_OK);
    assert_int_equal(seen, 'S');
    assert_int_equal(check(&pair, TEST, &seen), RPC_OK);
    assert_int_equal(seen, 'S');
    assert_int_equal(check(&pair, "grpc.health.v1.Health", &seen), RPC_OK);
    set(&pair, TEST, RPC_HEALTH_NOT_SERVING);
    assert_int_equal(check(&pair, TEST, &seen), RPC_OK);
    assert_int_equal(seen, 'N');
    assert_int_equal(check(&pair, "", &seen), RPC_OK);
    assert_int_equal(seen, 'S');
}

static void
a_name_that_nobody_set_is_not_found(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    char seen;

    (void)state;
    begin(&pair);
    assert_int_equal(check(&pair, "x", &seen), RPC_NOT_FOUND);
    assert_int_equal(seen, '\0');
    set(&pair, "x", RPC_HEALTH_SERVING);
    assert_int_equal(check(&pair, "x", &seen), RPC_OK);
    set(&pair, TEST, RPC_HEALTH_SERVICE_UNKNOWN);
    assert_int_equal(check(&pair, TEST, &seen), RPC_NOT_FOUND);
}

static void
a_watcher_gets_the_state_and_each_change(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked test, later, all;

    (void)state;
    begin(&pair);
    watch(&pair, &test, TEST, 0);
    watch(&pair, &later, "later", 0);
    watch(&pair, &all, "", 0);
    assert_string_equal(test.seen, "S");
    assert_string_equal(later.seen, "U");
    set(&pair, TEST, RPC_HEALTH_NOT_SERVING);
    wire_settle(&pair.clock, &pair.wire);
    set(&pair, TEST, RPC_HEALTH_NOT_SERVING); /* no change */
    set(&pair, "later", RPC_HEALTH_SERVING);
    wire_settle(&pair.clock, &pair.wire);
    set(&pair, TEST, RPC_HEALTH_SERVING);
    set(&pair, "later", RPC_HEALTH_SERVICE_UNKNOWN);
    wire_settle(&pair.clock, &pair.wire);
    assert_string_equal(test.seen, "SNS");
    assert_string_equal(later.seen, "USU");
    assert_string_equal(all.seen, "S");
    assert_int_equal(test.dones + later.dones + all.dones, 0);
}

/* Many changes before the client could take one: the first of them, which was on its way,
 * and the newest. */
static void
one_that_does_not_read_gets_the_newest_state(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    watch(&pair, &a, TEST, 0);
    for (int i = 0; i < 10000; i++) {
        set(&pair, TEST, RPC_HEALTH_NOT_SERVING);
        set(&pair, TEST, RPC_HEALTH_SERVICE_UNKNOWN);
        set(&pair, TEST, RPC_HEALTH_SERVING);
    }
    wire_settle(&pair.clock, &pair.wire);
    assert_string_equal(a.seen, "SNS");
}

/* The same when the client's window is closed for long: what was the first state, and
 * what is the newest. */
static void
a_closed_window_holds_two_states_at_most(void **state)
{
    static const nghttp2_settings_entry closed = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                                  0};
    static const char *const fields[] = {RAW_FIELDS(PATH("Watch")), NULL};
    static const uint8_t serving[] = {0, 0, 0, 0, 2, 8, 1},
                         not_serving[] = {0, 0, 0, 0, 2, 8, 2};
    struct rpc_server *server;
    struct wire_clock clock;
    struct wire wire;
    struct raw raw;
    struct raw_stream *s;

    (void)state;
    wire_clock_init(&clock);
    wire_init(&wire);
    assert_int_equal(rpc_server_new(&clock.base, NULL, &server, NULL), 0);
    assert_int_equal(rpc_health_add(server, NULL), 0);
    rpc_server_accept(server, &wire.ends[1].base, NULL);
    raw_init(&raw, &wire.ends[0].base, false);
    assert_int_equal(nghttp2_submit_settings(raw.session, 0, &closed, 1), 0);
    s = raw_stream(&raw, raw_request(&raw, fields, "\0\0\0\0\0", 5, true));
    wire_settle(&clock, &wire);
    for (int i = 0; i < 1001; i++) {
        assert_int_equal(
            rpc_health_set(server, "",
                           i % 2 ? RPC_HEALTH_SERVING : RPC_HEALTH_NOT_SERVING),
            0);
        wire_settle(&clock, &wire);
    }
    assert_int_equal(s->body.len, 0);
    assert_int_equal(nghttp2_submit_window_update(raw.session, 0, 1, 65535), 0);
    raw_flush(&raw);
    wire_settle(&clock, &wire);
    assert_int_equal(s->body.len, sizeof(serving) + sizeof(not_serving));
    assert_memory_equal(s->body.data, serving, sizeof(serving));
    assert_memory_equal(s->body.data + sizeof(serving), not_serving, sizeof(not_serving));
    raw_done(&raw);
    rpc_server_free(server);
    wire_done(&wire);
}

static void
watchers_end_in_every_way(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a, b, c;

    (void)state;
    begin(&pair);
    watch(&pair, &a, "", 0);
    watch(&pair, &b, "", 500);
    watch(&pair, &c, "", 0);
    rpc_client_cancel(a.call);
    wire_settle(&pair.clock, &pair.wire);
    set(&pair, "", RPC_HEALTH_NOT_SERVING);
    wire_settle(&pair.clock, &pair.wire);
    wire_advance(&pair.clock, &pair.wire, 500);
    assert_int_equal(b.status.code, RPC_DEADLINE_EXCEEDED);
    assert_string_equal(b.seen, "SN");
    set(&pair, "", RPC_HEALTH_SERVING);
    wire_cut(&pair.wire, -ECONNRESET);
    wire_settle(&pair.clock, &pair.wire);
    set(&pair, "", RPC_HEALTH_NOT_SERVING);
    assert_int_equal(c.status.code, RPC_UNAVAILABLE);
    assert_string_equal(a.seen, "S");
}

/* The server goes first: its watchers go with it. */
static void
a_server_with_watchers_can_be_freed(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    watch(&pair, &a, "", 0);
    set(&pair, "", RPC_HEALTH_NOT_SERVING);
    rpc_server_free(pair.server);
    pair.server = NULL;
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(a.status.code, RPC_UNAVAILABLE);
}

static void
shutdown_tells_the_watchers_and_ends_their_calls(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a, unknown, late;
    char seen;

    (void)state;
    begin(&pair);
    watch(&pair, &a, TEST, 0);
    watch(&pair, &unknown, "x", 0);
    set(&pair, "y", RPC_HEALTH_SERVING);
    rpc_health_shutdown(pair.server);
    wire_settle(&pair.clock, &pair.wire);
    assert_string_equal(a.seen, "SN");
    assert_int_equal(a.status.code, RPC_UNAVAILABLE);
    assert_string_equal(unknown.seen, "U");
    assert_int_equal(unknown.status.code, RPC_UNAVAILABLE);
    set(&pair, TEST, RPC_HEALTH_SERVING);
    assert_int_equal(check(&pair, TEST, &seen), RPC_OK);
    assert_int_equal(seen, 'N');
    assert_int_equal(check(&pair, "y", &seen), RPC_OK);
    assert_int_equal(seen, 'N');
    assert_int_equal(check(&pair, "x", &seen), RPC_NOT_FOUND);
    watch(&pair, &late, "", 0);
    assert_string_equal(late.seen, "N");
    assert_int_equal(late.status.code, RPC_UNAVAILABLE);
    rpc_health_shutdown(pair.server); /* once more does nothing */
}

static void
on_drained(void *arg)
{
    ++*(int *)arg;
}

/* A call to Watch has no end of its own. */
static void
a_drain_tells_the_watchers_and_does_not_wait_for_them(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;
    int drained = 0;

    (void)state;
    begin(&pair);
    watch(&pair, &a, "", 0);
    assert_int_equal(rpc_server_drain(pair.server, 3600000, on_drained, &drained, NULL),
                     0);
    wire_settle(&pair.clock, &pair.wire);
    assert_string_equal(a.seen, "SN");
    assert_int_equal(a.status.code, RPC_UNAVAILABLE);
    assert_int_equal(drained, 1);
}

static void
list_gives_every_known_name(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    set(&pair, TEST, RPC_HEALTH_NOT_SERVING);
    set(&pair, "x", RPC_HEALTH_SERVING);
    set(&pair, "y", RPC_HEALTH_SERVICE_UNKNOWN);
    list(&pair, &a);
    assert_string_equal(a.list, "=S " TEST "=N grpc.health.v1.Health=S x=S ");
    rpc_health_shutdown(pair.server);
    list(&pair, &a);
    assert_string_equal(a.list, "=N " TEST "=N grpc.health.v1.Health=N x=N ");
}

static void
names_are_bounded(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    char name[RPC_HEALTH_NAME_MAX + 2];
    struct asked a;
    char seen;

    (void)state;
    begin(&pair);
    memset(name, 'x', sizeof(name));
    name[RPC_HEALTH_NAME_MAX + 1] = '\0';
    assert_int_equal(check(&pair, name, &seen), RPC_INVALID_ARGUMENT);
    watch(&pair, &a, name, 0);
    assert_int_equal(a.status.code, RPC_INVALID_ARGUMENT);
    assert_int_equal(rpc_health_set(pair.server, name, RPC_HEALTH_SERVING), -EINVAL);
    name[RPC_HEALTH_NAME_MAX] = '\0';
    assert_int_equal(check(&pair, name, &seen), RPC_NOT_FOUND);
    set(&pair, name, RPC_HEALTH_SERVING);
    for (int i = 1; i < RPC_HEALTH_NAMES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        set(&pair, name, RPC_HEALTH_SERVING);
    }
    assert_int_equal(rpc_health_set(pair.server, "more", RPC_HEALTH_SERVING), -ENOSPC);
    set(&pair, "1", RPC_HEALTH_NOT_SERVING); /* one that is there can be set */
}

static void
a_server_without_the_service_says_so(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    char seen;

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(rpc_health_set(pair.server, "", RPC_HEALTH_SERVING), -ENOENT);
    rpc_health_shutdown(pair.server);
    assert_int_equal(check(&pair, "", &seen), RPC_UNIMPLEMENTED);
    assert_int_equal(rpc_health_add(pair.server, NULL), 0);
    assert_int_equal(rpc_health_add(pair.server, NULL), -EEXIST);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_and_its_services_serve_until_told_otherwise),
        cmocka_unit_test(a_name_that_nobody_set_is_not_found),
        cmocka_unit_test(a_watcher_gets_the_state_and_each_change),
        cmocka_unit_test(one_that_does_not_read_gets_the_newest_state),
        cmocka_unit_test(a_closed_window_holds_two_states_at_most),
        cmocka_unit_test(watchers_end_in_every_way),
        cmocka_unit_test(a_server_with_watchers_can_be_freed),
        cmocka_unit_test(shutdown_tells_the_watchers_and_ends_their_calls),
        cmocka_unit_test(a_drain_tells_the_watchers_and_does_not_wait_for_them),
        cmocka_unit_test(list_gives_every_known_name),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(a_server_without_the_service_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
