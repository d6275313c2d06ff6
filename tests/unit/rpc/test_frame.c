/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/frame_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

/* "", "a", "bcd" with flag 1, "". */
static const uint8_t four[] = {0, 0, 0, 0, 0,   0,   0,   0, 0, 1, 'a', 1,
                               0, 0, 0, 3, 'b', 'c', 'd', 0, 0, 0, 0,   0};

struct seen {
    size_t count;
    char text[32]; /* messages, each followed by its flag */
};

/* Feed one piece that lies in memory of exactly its size. */
static void
feed(struct rpc_frame_decoder *decoder, const uint8_t *data, size_t len,
     struct seen *seen)
{
    VMT_CLEANUP(vmt_freep) uint8_t *copy = malloc(len + 1);
    size_t used = 0;

    assert_non_null(copy);
    memcpy(copy + 1, data, len);
    while (used < len) {
        struct rpc_frame frame;
        bool complete;
        ssize_t n =
            rpc_frame_decode(decoder, copy + 1 + used, len - used, &frame, &complete);

        assert_true(n > 0);
        used += (size_t)n;
        if (!complete)
            continue;
        seen->count++;
        (void)strncat(seen->text, (const char *)frame.data, frame.len);
        (void)strcat(seen->text, frame.compressed ? "1" : "0");
    }
}

static void
messages_come_out_of_any_two_pieces(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= sizeof(four); cut++) {
        struct rpc_frame_decoder decoder = {.max = 3};
        struct seen seen = {0};

        feed(&decoder, four, cut, &seen);
        feed(&decoder, four + cut, sizeof(four) - cut, &seen);
        assert_int_equal(seen.count, 4);
        assert_string_equal(seen.text, "0a0bcd10");
        assert_false(rpc_frame_partial(&decoder));
        assert_int_equal(rpc_frame_held(&decoder), 0);
        rpc_frame_done(&decoder);
    }
}

static void
messages_come_out_of_single_bytes(void **state)
{
    struct rpc_frame_decoder decoder = {.max = 3};
    struct seen seen = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(four); i++)
        feed(&decoder, four + i, 1, &seen);
    assert_string_equal(seen.text, "0a0bcd10");
    rpc_frame_done(&decoder);
}

static void
a_cut_message_is_partial(void **state)
{
    (void)state;
    for (size_t cut = 11; cut < 19; cut++) {
        struct rpc_frame_decoder decoder = {.max = 3};
        struct seen seen = {0};

        feed(&decoder, four, cut, &seen);
        assert_int_equal(rpc_frame_partial(&decoder), cut > 11);
        assert_int_equal(rpc_frame_held(&decoder), cut > 16 ? cut - 16 : 0);
        rpc_frame_done(&decoder);
    }
}

static void
a_message_above_the_limit_is_refused_by_its_prefix(void **state)
{
    static const uint8_t big[] = {0, 0, 0, 0, 4};
    static const uint8_t huge[] = {0, 255, 255, 255, 255};
    struct rpc_frame_decoder decoder = {.max = 3};
    struct rpc_frame frame;
    bool complete;

    (void)state;
    assert_int_equal(rpc_frame_decode(&decoder, big, 5, &frame, &complete), -EMSGSIZE);
    rpc_frame_done(&decoder);
    assert_int_equal(rpc_frame_decode(&decoder, huge, 5, &frame, &complete), -EMSGSIZE);
    rpc_frame_done(&decoder);
}

static void
an_unknown_flag_is_refused_at_once(void **state)
{
    struct rpc_frame_decoder decoder = {.max = 3};
    struct rpc_frame frame;
    bool complete;

    (void)state;
    assert_int_equal(
        rpc_frame_decode(&decoder, (const uint8_t *)"\2", 1, &frame, &complete),
        -EBADMSG);
    rpc_frame_done(&decoder);
}

static void
a_promised_length_costs_no_memory(void **state)
{
    static const uint8_t start[] = {0, 0, 255, 255, 255, 'x'};
    struct rpc_frame_decoder decoder = {.max = UINT32_MAX};
    struct seen seen = {0};

    (void)state;
    feed(&decoder, start, sizeof(start), &seen);
    assert_true(decoder.body.cap < 4096);
    rpc_frame_done(&decoder);
}

static void
a_prefix_is_what_the_decoder_reads(void **state)
{
    struct rpc_frame_decoder decoder = {.max = 70000};
    uint8_t prefix[RPC_FRAME_PREFIX];
    struct seen seen = {0};

    (void)state;
    rpc_frame_prefix(prefix, false, 0x010203);
    assert_memory_equal(prefix, "\0\0\1\2\3", 5);
    rpc_frame_prefix(prefix, true, 66000);
    feed(&decoder, prefix, sizeof(prefix), &seen);
    assert_true(rpc_frame_partial(&decoder));
    rpc_frame_done(&decoder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_of_any_two_pieces),
        cmocka_unit_test(messages_come_out_of_single_bytes),
        cmocka_unit_test(a_cut_message_is_partial),
        cmocka_unit_test(a_message_above_the_limit_is_refused_by_its_prefix),
        cmocka_unit_test(an_unknown_flag_is_refused_at_once),
        cmocka_unit_test(a_promised_length_costs_no_memory),
        cmocka_unit_test(a_prefix_is_what_the_decoder_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
