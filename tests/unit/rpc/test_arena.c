/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/arena_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/test.h"

static void
a_message_is_parsed_and_released_in_one_go(void **state)
{
    VMT_CLEANUP(rpc_arena_done) struct rpc_arena arena = {0};
    struct ProtobufCMessage *message;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rpc_arena_unpack(&arena, &vmt__rpctest__request__descriptor,
                                          (const uint8_t *)"\x0a\x02hi\x18\x05", 6,
                                          &message),
                         0);
        assert_string_equal(((Vmt__Rpctest__Request *)message)->text, "hi");
        assert_int_equal(((Vmt__Rpctest__Request *)message)->number, 5);
        rpc_arena_done(&arena);
    }
}

static void
large_fields_get_room_of_their_own(void **state)
{
    VMT_CLEANUP(rpc_arena_done) struct rpc_arena arena = {0};
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = calloc(1, 100004);
    struct ProtobufCMessage *message;

    (void)state;
    assert_non_null(bytes);
    memcpy(bytes, "\x12\xa0\x8d\x06", 4); /* field 2, 100000 bytes */
    assert_int_equal(rpc_arena_unpack(&arena, &vmt__rpctest__request__descriptor, bytes,
                                      100004, &message),
                     0);
    assert_int_equal(((Vmt__Rpctest__Request *)message)->data.len, 100000);
}

static void
garbage_is_told_from_excess(void **state)
{
    VMT_CLEANUP(rpc_arena_done) struct rpc_arena arena = {0};
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(2000000);
    struct ProtobufCMessage *message = NULL;

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(rpc_arena_unpack(&arena, &vmt__rpctest__request__descriptor,
                                      (const uint8_t *)"\x0a\x7f", 2, &message),
                     -EINVAL);
    rpc_arena_done(&arena);
    for (size_t i = 0; i < 2000000; i += 2)
        memcpy(bytes + i, "\x22\x00", 2); /* empty messages, 2 bytes each */
    assert_int_equal(rpc_arena_unpack(&arena, &vmt__rpctest__request__descriptor, bytes,
                                      2000000, &message),
                     -E2BIG);
    assert_null(message);
    assert_true(arena.spent <= arena.budget);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_parsed_and_released_in_one_go),
        cmocka_unit_test(large_fields_get_room_of_their_own),
        cmocka_unit_test(garbage_is_told_from_excess),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
