/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/limits.h"

#include "tests/unit/test.h"

#define MIB (1024ull * 1024)

static void
what_is_carried_follows_the_memory(void **state)
{
    static const struct {
        uint64_t memory_bytes;
        unsigned want;
    } rows[] = {
        {0, 64},           {128 * MIB, 64},   {256 * MIB, 102},         {512 * MIB, 204},
        {1024 * MIB, 409}, {2048 * MIB, 640}, {1024 * 1024 * MIB, 640}, {UINT64_MAX, 640},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_int_equal(vshd_carried_max(rows[i].memory_bytes), rows[i].want);
}

static void
there_is_room_for_commands_beside_all_that_is_carried(void **state)
{
    (void)state;
    assert_true(VSHD_COMMANDS_MAX + VSHD_CARRIED_MAX < VSHD_CONNECTIONS_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_carried_follows_the_memory),
        cmocka_unit_test(there_is_room_for_commands_beside_all_that_is_carried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
