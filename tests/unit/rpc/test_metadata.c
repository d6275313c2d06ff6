/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/metadata_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

#define BYTES(literal) ((const uint8_t *)(literal)), (sizeof(literal) - 1)

static void
text_is_encoded_outside_of_printable_ascii(void **state)
{
    char out[RPC_TEXT_ENCODED_MAX];

    (void)state;
    assert_int_equal(rpc_text_encode(out, " a~%\n\x7f\xc3\xa9"), 18);
    assert_string_equal(out, " a~%25%0A%7F%C3%A9");
    assert_int_equal(rpc_text_encode(out, ""), 0);
}

static void
every_byte_survives_a_round_trip(void **state)
{
    char text[256], wire[RPC_TEXT_ENCODED_MAX], back[RPC_MESSAGE_TEXT_MAX];
    size_t len;

    (void)state;
    for (int i = 1; i < 256; i++)
        text[i - 1] = (char)i;
    text[255] = '\0';
    len = rpc_text_encode(wire, text);
    rpc_text_decode(back, (const uint8_t *)wire, len);
    assert_string_equal(back, text);
}

static void
long_text_is_cut_between_characters(void **state)
{
    char text[2000], wire[RPC_TEXT_ENCODED_MAX], back[RPC_MESSAGE_TEXT_MAX];

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        size_t len, used = shift;

        memset(text, 'x', shift);
        while (used + 4 < sizeof(text)) {
            memcpy(text + used, "\xf0\x9f\x98\x80", 4);
            used += 4;
        }
        text[used] = '\0';
        len = rpc_text_encode(wire, text);
        assert_true(len < RPC_TEXT_ENCODED_MAX);
        rpc_text_decode(back, (const uint8_t *)wire, len);
        assert_int_equal((strlen(back) - shift) % 4, 0);
        assert_true(strlen(back) > RPC_MESSAGE_TEXT_MAX - 5);
        assert_memory_equal(back, text, strlen(back));
    }
}

static void
what_is_no_escape_stays_as_it_is(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {{"%", "%"},     {"a%4", "a%4"}, {"%zz", "%zz"},
                 {"%4g", "%4g"}, {"%41", "A"},   {"%c3%A9", "\xc3\xa9"},
                 {"%00x", "?x"}, {"%%41", "%A"}, {"%2541", "%41"}};
    char out[RPC_MESSAGE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        rpc_text_decode(out, (const uint8_t *)cases[i].in, strlen(cases[i].in));
        assert_string_equal(out, cases[i].out);
    }
}

static void
received_text_of_any_length_fits(void **state)
{
    uint8_t wire[3000];
    char out[RPC_MESSAGE_TEXT_MAX];

    (void)state;
    for (size_t len = 0; len < sizeof(wire); len += 7) {
        memset(wire, 'a', sizeof(wire));
        rpc_text_decode(out, wire, len);
        assert_int_equal(strlen(out), len < sizeof(out) ? len : sizeof(out) - 1);
    }
}

static void
timeouts_are_formatted_within_eight_digits(void **state)
{
    static const struct {
        uint32_t ms;
        const char *text;
    } cases[] = {{1, "1m"},
                 {99999999, "99999999m"},
                 {100000000, "100000S"},
                 {100000001, "100001S"},
                 {UINT32_MAX, "4294968S"}};
    char out[RPC_TIMEOUT_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        assert_int_equal(rpc_timeout_format(out, cases[i].ms), strlen(cases[i].text));
        assert_string_equal(out, cases[i].text);
    }
}

static void
timeouts_are_parsed_in_every_unit(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = {{"2H", 7200000},
                 {"3M", 180000},
                 {"4S", 4000},
                 {"5m", 5},
                 {"1u", 1},
                 {"1000u", 1},
                 {"1001u", 2},
                 {"1n", 1},
                 {"0n", 0},
                 {"00000007m", 7},
                 {"99999999H", 359999996400000},
                 {"1000001n", 2}};
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        assert_int_equal(
            rpc_timeout_parse((const uint8_t *)cases[i].text, strlen(cases[i].text), &ms),
            0);
        assert_true(ms == cases[i].ms);
    }
}

static void
malformed_timeouts_are_refused(void **state)
{
    static const char *const cases[] = {"",   "S",   "5",          "-1S",  "1s", "1 S",
                                        "1x", "+1S", "123456789S", "1.5S", "1SS"};
    uint64_t ms = 77;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        assert_int_equal(
            rpc_timeout_parse((const uint8_t *)cases[i], strlen(cases[i]), &ms), -EINVAL);
    }
    assert_int_equal(ms, 77);
}

static void
content_types_of_grpc_are_known(void **state)
{
    (void)state;
    assert_true(rpc_content_type_ok(BYTES("application/grpc")));
    assert_true(rpc_content_type_ok(BYTES("application/grpc+proto")));
    assert_true(rpc_content_type_ok(BYTES("Application/gRPC")));
    assert_true(rpc_content_type_ok(BYTES("application/grpc; charset=utf-8")));
    assert_true(rpc_content_type_ok(BYTES("application/grpc+proto;a=b")));
    assert_false(rpc_content_type_ok(BYTES("application/grpc-web")));
    assert_false(rpc_content_type_ok(BYTES("application/grpc+json")));
    assert_false(rpc_content_type_ok(BYTES("application/grp")));
    assert_false(rpc_content_type_ok(BYTES("application/json")));
    assert_false(rpc_content_type_ok(BYTES("")));
}

static void
codes_come_from_numbers_http_and_resets(void **state)
{
    char number[4];

    (void)state;
    for (unsigned i = 0; i < RPC_CODE_COUNT; i++) {
        int n = snprintf(number, sizeof(number), "%u", i);

        assert_int_equal(rpc_code_parse((const uint8_t *)number, (size_t)n), i);
        assert_non_null(rpc_code_name((enum rpc_code)i));
    }
    assert_int_equal(rpc_code_parse(BYTES("17")), RPC_UNKNOWN);
    assert_int_equal(rpc_code_parse(BYTES("")), RPC_UNKNOWN);
    assert_int_equal(rpc_code_parse(BYTES("-1")), RPC_UNKNOWN);
    assert_int_equal(rpc_code_parse(BYTES("99999999999999999999")), RPC_UNKNOWN);
    assert_int_equal(rpc_code_from_http(401), RPC_UNAUTHENTICATED);
    assert_int_equal(rpc_code_from_http(404), RPC_UNIMPLEMENTED);
    assert_int_equal(rpc_code_from_http(503), RPC_UNAVAILABLE);
    assert_int_equal(rpc_code_from_http(200), RPC_UNKNOWN);
    assert_int_equal(rpc_code_from_h2(7), RPC_UNAVAILABLE);
    assert_int_equal(rpc_code_from_h2(8), RPC_CANCELLED);
    assert_int_equal(rpc_code_from_h2(11), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(rpc_code_from_h2(0), RPC_INTERNAL);
    assert_string_equal(rpc_code_name((enum rpc_code)99), "UNKNOWN");
}

static void
status_text_is_cut_between_characters(void **state)
{
    struct rpc_status status;
    char text[RPC_MESSAGE_TEXT_MAX + 10];

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text + RPC_MESSAGE_TEXT_MAX - 2, "\xe2\x82\xac", 4);
    rpc_status_set(&status, RPC_ABORTED, "%s", text);
    assert_int_equal(strlen(status.text), RPC_MESSAGE_TEXT_MAX - 2);
    rpc_status_set(&status, RPC_ABORTED, "%s", text + 2);
    assert_int_equal(strlen(status.text), RPC_MESSAGE_TEXT_MAX - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_encoded_outside_of_printable_ascii),
        cmocka_unit_test(every_byte_survives_a_round_trip),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(what_is_no_escape_stays_as_it_is),
        cmocka_unit_test(received_text_of_any_length_fits),
        cmocka_unit_test(timeouts_are_formatted_within_eight_digits),
        cmocka_unit_test(timeouts_are_parsed_in_every_unit),
        cmocka_unit_test(malformed_timeouts_are_refused),
        cmocka_unit_test(content_types_of_grpc_are_known),
        cmocka_unit_test(codes_come_from_numbers_http_and_resets),
        cmocka_unit_test(status_text_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
