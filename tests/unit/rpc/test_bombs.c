/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages that cost far more to decompress than to send. */
#include <string.h>

#include "core/base/cleanup.h"
#include "core/rpc/compress_internal.h"
#include "tests/unit/rpc/server_bed.h"
#include "tests/unit/test.h"

#define TURN_BYTES (1u << 20)

/* Compress len bytes to out, which has room for size, behind a message prefix. Returns
 * how many bytes it has. */
static size_t
make_message(uint8_t *out, size_t size, const uint8_t *data, size_t len)
{
    ssize_t n = rpc_gzip(data, len, out + 5, size - 5);

    assert_true(n > 0 && n < 65536);
    out[0] = 1;
    out[1] = out[2] = 0;
    out[3] = (uint8_t)(n >> 8);
    out[4] = (uint8_t)n;
    return (size_t)n + 5;
}

/* 60 KiB of bombs in one piece make 20 MiB. They are taken some at a time, in order, and
 * the end behind them; and what waits is bounded by the window. */
static void
bombs_take_turns(void **state)
{
    enum { N = 1000, SIZE = 20000 };
    const char *fields[] = {RAW_FIELDS(""), "grpc-encoding", "gzip", NULL};
    static uint8_t packed[SIZE + 10], data[SIZE], out[100];
    Vmt__Rpctest__Request request = rpctest_request();
    VMT_CLEANUP(bed_done) struct bed bed;
    const struct rpc_server_config config = {.message_max = SIZE + 10};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf body = {0};
    size_t turns = 0;
    int32_t id;

    (void)state;
    bed_init(&bed, &config);
    request.data.data = data;
    request.data.len = SIZE;
    request.number = 1;
    make_message(out, sizeof(out), packed,
                 protobuf_c_message_pack(&request.base, packed));
    for (size_t i = 0; i < N; i++)
        assert_int_equal(vmt_buf_append(&body, out, 5 + out[4]), 0);
    fields[5] = RPCTEST_PATH("Collect");
    id = raw_request(&bed.raw, fields, body.data, body.len, true);
    while (bed.test.half_closes == 0) {
        size_t before = bed.test.taken;

        if (!wire_clock_run(&bed.clock))
            assert_true(wire_step(&bed.wire));
        assert_true(bed.test.taken - before <= (1u << 20) / SIZE + 2);
        turns += bed.test.taken > before;
    }
    assert_true(turns >= N * SIZE / (1u << 20));
    assert_int_equal(bed.test.taken, N);
    wire_settle(&bed.clock, &bed.wire);
    assert_true(raw_has(&bed.raw, id, "grpc-status: 0\n"));
}

/* One on each stream, all in one piece: too large for a message, or damaged in its last
 * byte. */
static void
bombs_that_fail_take_turns(void **state)
{
    enum { N = 8 };
    const char *fields[] = {RAW_FIELDS(RPCTEST_PATH("Chat")), "grpc-encoding", "gzip",
                            NULL};
    static const char *const lines[] = {"grpc-status: 8\n", "grpc-status: 13\n"};
    const struct rpc_server_config config = {.message_max = TURN_BYTES};
    static uint8_t zeroes[2 * TURN_BYTES], out[4000];

    (void)state;
    for (size_t how = 0; how < 2; how++) {
        size_t len = make_message(out, sizeof(out), zeroes,
                                  how == 0 ? sizeof(zeroes) : TURN_BYTES);
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init(&bed, &config);
        bed_settle(&bed);
        out[len - 5] ^= how == 1; /* of the checksum */
        for (int i = 0; i < N; i++)
            (void)raw_request(&bed.raw, fields, out, len, true);
        while (bed.test.stream_cancels < N) {
            size_t before = bed.test.stream_cancels;

            if (!wire_clock_run(&bed.clock))
                assert_true(wire_step(&bed.wire));
            assert_true(bed.test.stream_cancels - before <= 2);
        }
        bed_settle(&bed);
        for (int32_t i = 0; i < N; i++)
            assert_true(raw_has(&bed.raw, 2 * i + 1, lines[how]));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bombs_take_turns),
        cmocka_unit_test(bombs_that_fail_take_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
