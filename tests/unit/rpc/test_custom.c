/* SPDX-License-Identifier: BSD-3-Clause */
/* Custom metadata in both directions, and peers that send it in bad shape. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/rpc/metadata_internal.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/test.h"

#define ECHO RPCTEST_PATH("Echo")
#define BYTES(literal) (literal), (sizeof(literal) - 1)
#define OK_FIELDS ":status", "200", "content-type", "application/grpc"

static int
receive(struct rpc_metadata *metadata, const char *name, const void *value, size_t len)
{
    const struct rpc_header header = {(const uint8_t *)name, value, strlen(name), len};

    return rpc_metadata_receive(metadata, &header);
}

static void
entries_are_found_in_order(void **state)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata md = {0};
    const struct rpc_metadata_entry *e;

    (void)state;
    assert_null(rpc_metadata_find(&md, "a", NULL));
    assert_int_equal(rpc_metadata_add(&md, "a", BYTES("1")), 0);
    assert_int_equal(rpc_metadata_add(&md, "b-bin", BYTES("\0\xff")), 0);
    assert_int_equal(rpc_metadata_add(&md, "a", NULL, 0), 0);
    e = rpc_metadata_find(&md, "a", NULL);
    assert_string_equal(e->value, "1");
    e = rpc_metadata_find(&md, "a", e);
    assert_string_equal(e->value, "");
    assert_null(rpc_metadata_find(&md, "a", e));
    e = rpc_metadata_find(&md, "b-bin", NULL);
    assert_int_equal(e->len, 2);
    assert_memory_equal(e->value, "\0\xff", 3);
}

static void
what_cannot_be_sent_is_refused(void **state)
{
    static const char *const keys[] = {"",      "Upper",   "a b",          "k\xc3\xa9",
                                       ":path", "grpc-x",  "content-type", "te",
                                       "host",  "vmt-fds", "user-agent",   "grpc-status"};
    static const char *const values[] = {" a", "a ", "a\nb", "\x7f", "\xc3\xa9"};
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata md = {0};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(keys); i++)
        assert_int_equal(rpc_metadata_add(&md, keys[i], BYTES("v")), -EINVAL);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(values); i++)
        assert_int_equal(rpc_metadata_add(&md, "k", values[i], strlen(values[i])),
                         -EINVAL);
    assert_int_equal(md.n, 0);
    assert_int_equal(rpc_metadata_add(&md, RPC_STATUS_DETAILS_KEY, BYTES("v")), 0);
}

static void
lists_are_bounded(void **state)
{
    static const char big[RPC_METADATA_BYTES_MAX];
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata md = {0};

    (void)state;
    /* 33 bytes of field and key, 8148 as base64 */
    assert_int_equal(rpc_metadata_add(&md, "a-bin", big, sizeof(big)), -E2BIG);
    assert_int_equal(rpc_metadata_add(&md, "a-bin", big, 4581), -E2BIG);
    assert_int_equal(rpc_metadata_add(&md, "a-bin", big, 4580), 0);
    assert_int_equal(rpc_metadata_add(&md, "b", NULL, 0), -E2BIG);
    rpc_metadata_done(&md);
    for (size_t i = 0; i < RPC_METADATA_COUNT_MAX; i++)
        assert_int_equal(rpc_metadata_add(&md, "k", NULL, 0), 0);
    assert_int_equal(rpc_metadata_add(&md, "k", NULL, 0), -E2BIG);
}

static void
binary_values_survive_every_length(void **state)
{
    uint8_t data[64];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37 + 251);
    for (size_t len = 0; len <= sizeof(data); len++) {
        VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata out = {0};
        VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata in = {0};

        assert_int_equal(rpc_metadata_add(&out, "k-bin", data, len), 0);
        assert_int_equal(receive(&in, "k-bin", out.first->wire, out.first->wire_len), 0);
        assert_int_equal(in.n, 1);
        assert_int_equal(in.first->len, len);
        assert_memory_equal(in.first->value, data, len);
    }
}

/* Source of the sample values: RFC 4648 section 10. */
static void
received_base64_is_checked(void **state)
{
    static const struct {
        const char *text, *value; /* value NULL: refused */
    } cases[] = {{"Zm9vYg==", "foob"}, {"Zm9vYg", "foob"}, {"Zm9vYmE=", "fooba"},
                 {"Zm9vYmE", "fooba"}, {"Zm9v", "foo"},    {"", ""},
                 {"Z", NULL},          {"Zm9vY", NULL},    {"Zm9=vYg", NULL},
                 {"====", NULL},       {"=", NULL},        {"Zm 9", NULL},
                 {"Zm-_", NULL},       {"Zg=", NULL}};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata md = {0};
        int r = receive(&md, "k-bin", cases[i].text, strlen(cases[i].text));

        if (r != (cases[i].value ? 0 : -EINVAL))
            fail_msg("%s: %d", cases[i].text, r);
        if (cases[i].value)
            assert_string_equal(md.first->value, cases[i].value);
    }
}

static void
joined_binary_values_are_split_and_counted(void **state)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata md = {0};
    char commas[RPC_METADATA_COUNT_MAX];

    (void)state;
    memset(commas, ',', sizeof(commas));
    assert_int_equal(receive(&md, "k-bin", BYTES("Zm9v,,Zg==")), 0);
    assert_int_equal(md.n, 3);
    assert_string_equal(md.first->value, "foo");
    assert_string_equal(md.last->value, "f");
    assert_int_equal(receive(&md, "k", BYTES("a,b")), 0);
    assert_string_equal(md.last->value, "a,b");
    assert_int_equal(receive(&md, "grpc-encoding", BYTES("gzip")), 0);
    assert_int_equal(md.n, 4);
    rpc_metadata_done(&md);
    assert_int_equal(receive(&md, "k-bin", commas, sizeof(commas) - 1), 0);
    rpc_metadata_done(&md);
    assert_int_equal(receive(&md, "k-bin", commas, sizeof(commas)), -E2BIG);
}

static void
metadata_goes_both_ways(void **state)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata md = {0};
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    pair.metadata = &md;
    pair_run(&pair, &call, ECHO, NULL);
    assert_int_equal(call.initials, 1);
    assert_int_equal(call.trailings, 1);
    assert_string_equal(call.initial, "");
    assert_int_equal(rpc_metadata_add(&md, "k", BYTES("one")), 0);
    assert_int_equal(rpc_metadata_add(&md, "b-bin", BYTES("\xc3\xa9\n")), 0);
    assert_int_equal(rpc_metadata_add(&md, "k", BYTES("two, three")), 0);
    pair_run(&pair, &call, ECHO, NULL);
    assert_int_equal(call.status.code, RPC_OK);
    assert_string_equal(call.initial, "k=one;b-bin=\xc3\xa9\n;k=two, three;");
    assert_string_equal(call.trailing, call.initial);
    assert_int_equal(call.initials + call.trailings, 2);
}

static void
a_failure_carries_its_details(void **state)
{
    Vmt__Rpctest__Request request = rpctest_request();
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    request.number = RPC_NOT_FOUND;
    request.data.data = (uint8_t *)(uintptr_t) "\x08\x05\xff";
    request.data.len = 3;
    pair_run(&pair, &call, RPCTEST_PATH("Fail"), &request);
    assert_int_equal(call.status.code, RPC_NOT_FOUND);
    assert_string_equal(call.trailing, RPC_STATUS_DETAILS_KEY "=\x08\x05\xff;");
    assert_int_equal(call.initials, 0);
}

static void
a_server_may_send_initial_metadata_early(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};
    Vmt__Rpctest__Reply reply = rpctest_reply();

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(rpc_server_call_add_initial(pair.test.hung, "k", BYTES("v")), 0);
    assert_int_equal(rpc_server_call_send_initial(pair.test.hung), 0);
    assert_int_equal(rpc_server_call_send_initial(pair.test.hung), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_string_equal(call.initial, "k=v;");
    assert_int_equal(call.messages + call.dones, 0);
    assert_int_equal(rpc_server_call_add_initial(pair.test.hung, "l", BYTES("v")),
                     -EALREADY);
    assert_int_equal(rpc_server_call_add_trailing(pair.test.hung, "t", BYTES("u")), 0);
    rpc_server_call_reply(pair.test.hung, &reply.base);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(call.messages, 1);
    assert_string_equal(call.trailing, "t=u;");
}

/* Headers that went out early are no reply. */
static void
a_failure_keeps_initial_and_trailing_apart(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    const struct rpc_status ok = {.code = RPC_OK};
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(rpc_server_call_add_initial(pair.test.hung, "k", BYTES("v")), 0);
    rpc_server_call_finish(pair.test.hung, &ok);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(call.status.code, RPC_INTERNAL);
    assert_string_equal(call.initial, "k=v;");
    assert_string_equal(call.trailing, "");
    assert_int_equal(call.trailings, 1);
}

static void
a_call_may_end_in_its_metadata_callbacks(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {.cancel_on_initial = true};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, ECHO, NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(call.initials, 1);
    assert_int_equal(call.messages + call.trailings + call.dones, 0);
    call = (struct pair_call){.free_on_trailing = true};
    assert_int_equal(pair_start(&pair, &call, ECHO, NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(call.trailings, 1);
    assert_int_equal(call.dones, 0);
}

/* 128 commas stand for one value more than fits. */
static const char *
too_many(void)
{
    static char commas[RPC_METADATA_COUNT_MAX + 1];

    memset(commas, ',', sizeof(commas) - 1);
    return commas;
}

static const struct {
    const char *name, *value; /* value NULL: too_many */
    enum rpc_code code;
} bad_cases[] = {{"k-bin", "Z", RPC_INTERNAL},
                 {"k-bin", "Zm9v", RPC_OK},
                 {"grpc-trace-bin", "!", RPC_OK},
                 {"k-bin", NULL, RPC_RESOURCE_EXHAUSTED}};

static void
a_server_refuses_bad_metadata(void **state)
{
    struct wire_clock clock;
    struct wire wire;
    struct raw raw;
    struct rpctest test = {0};
    struct rpc_server *server;

    (void)state;
    wire_clock_init(&clock);
    wire_init(&wire);
    assert_int_equal(rpc_server_new(&clock.base, NULL, &server, NULL), 0);
    assert_int_equal(rpc_server_add(server, &rpctest_service, &test, NULL), 0);
    rpc_server_accept(server, &wire.ends[1].base, NULL);
    memset(&raw, 0, sizeof(raw));
    raw_init(&raw, &wire.ends[0].base, false);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad_cases); i++) {
        const char *value = bad_cases[i].value ? bad_cases[i].value : too_many();
        const char *fields[] = {RAW_FIELDS(ECHO), bad_cases[i].name, value, NULL};
        int32_t id = raw_request(&raw, fields, BYTES("\0\0\0\0\0"), true);
        char line[32];

        (void)snprintf(line, sizeof(line), "grpc-status: %d\n", (int)bad_cases[i].code);
        wire_settle(&clock, &wire);
        if (!raw_has(&raw, id, line))
            fail_msg("case %zu: %s", i, raw_stream(&raw, id)->headers);
    }
    assert_int_equal(test.requests, 2);
    raw_done(&raw);
    rpc_server_free(server);
    wire_done(&wire);
}

struct seen {
    size_t initials, trailings, dones;
    enum rpc_code code;
};

static void
seen_on_initial(void *arg, const struct rpc_metadata *metadata)
{
    struct seen *seen = arg;

    (void)metadata;
    assert_int_equal(seen->trailings + seen->dones, 0);
    seen->initials++;
}

static void
seen_on_trailing(void *arg, const struct rpc_metadata *metadata)
{
    struct seen *seen = arg;

    (void)metadata;
    assert_int_equal(seen->dones, 0);
    seen->trailings++;
}

static void
seen_on_done(void *arg, const struct rpc_status *status)
{
    struct seen *seen = arg;

    seen->dones++;
    seen->code = status->code;
}

/* One call that is answered with the field in its headers or in its trailers. */
static struct seen
ask_raw_server(const char *name, const char *value, bool trailing)
{
    static const struct rpc_client_handler handler = {.on_done = seen_on_done,
                                                      .on_initial = seen_on_initial,
                                                      .on_trailing = seen_on_trailing};
    const char *fields[] = {OK_FIELDS, trailing ? "x" : name, value, NULL};
    const char *trailers[] = {"grpc-status", "0", trailing ? name : "x", value, NULL};
    const Vmt__Rpctest__Request message = rpctest_request();
    struct seen seen = {0};
    const struct rpc_client_request request = {.path = ECHO,
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .handler = &handler,
                                               .arg = &seen};
    struct rpc_client *client;
    struct wire_clock clock;
    struct wire wire;
    struct raw raw;

    wire_clock_init(&clock);
    wire_init(&wire);
    memset(&raw, 0, sizeof(raw));
    raw_init(&raw, &wire.ends[1].base, true);
    assert_int_equal(rpc_client_new(&clock.base, &wire.ends[0].base, NULL, &client, NULL),
                     0);
    assert_int_equal(rpc_client_start(client, &request, &message.base, NULL, NULL), 0);
    wire_settle(&clock, &wire);
    raw_respond(&raw, 1, fields, BYTES("\0\0\0\0\0"), trailers);
    wire_settle(&clock, &wire);
    assert_int_equal(seen.dones, 1);
    rpc_client_free(client);
    raw_done(&raw);
    wire_done(&wire);
    return seen;
}

static void
a_client_refuses_bad_metadata(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad_cases); i++) {
        const char *value = bad_cases[i].value ? bad_cases[i].value : too_many();
        struct seen seen = ask_raw_server(bad_cases[i].name, value, false);

        assert_int_equal(seen.code, bad_cases[i].code);
        assert_int_equal(seen.initials, seen.code == RPC_OK);
        seen = ask_raw_server(bad_cases[i].name, value, true);
        assert_int_equal(seen.code, bad_cases[i].code);
        assert_int_equal(seen.initials, 1);
        assert_int_equal(seen.trailings, seen.code == RPC_OK);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_in_order),
        cmocka_unit_test(what_cannot_be_sent_is_refused),
        cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(binary_values_survive_every_length),
        cmocka_unit_test(received_base64_is_checked),
        cmocka_unit_test(joined_binary_values_are_split_and_counted),
        cmocka_unit_test(metadata_goes_both_ways),
        cmocka_unit_test(a_failure_carries_its_details),
        cmocka_unit_test(a_server_may_send_initial_metadata_early),
        cmocka_unit_test(a_failure_keeps_initial_and_trailing_apart),
        cmocka_unit_test(a_call_may_end_in_its_metadata_callbacks),
        cmocka_unit_test(a_server_refuses_bad_metadata),
        cmocka_unit_test(a_client_refuses_bad_metadata),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
