/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/mac.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/vm/id.h"
#include "tests/unit/test.h"

static bool
is_free(void *arg, const uint8_t *mac)
{
    (void)arg;
    (void)mac;
    return false;
}

static bool
is_taken(void *arg, const uint8_t *mac)
{
    (void)mac;
    ++*(unsigned *)arg;
    return true;
}

static bool
is_same(void *arg, const uint8_t *mac)
{
    return memcmp(arg, mac, VM_MAC_LEN) == 0;
}

static void
an_address_follows_from_the_key_alone(void **state)
{
    uint8_t a[VM_MAC_LEN], b[VM_MAC_LEN];
    char text[VM_MAC_TEXT_MAX];

    (void)state;
    assert_int_equal(vm_mac_alloc(vm_key_hash("75-ZGVtbw"), is_free, NULL, a), 0);
    assert_int_equal(vm_mac_alloc(vm_key_hash("75-ZGVtbw"), is_free, NULL, b), 0);
    assert_memory_equal(a, b, VM_MAC_LEN);
    /* Not to change with a release: guests know their network by it. */
    assert_string_equal(vm_mac_format(a, text), "ea:c5:d5:fe:a1:f9");
}

static void
addresses_are_local_of_one_station_and_differ(void **state)
{
    static uint8_t seen[2000][VM_MAC_LEN];

    (void)state;
    for (int i = 0; i < 2000; i++) {
        char key[32];

        (void)snprintf(key, sizeof(key), "aa-%d", i);
        assert_int_equal(vm_mac_alloc(vm_key_hash(key), is_free, NULL, seen[i]), 0);
        assert_true(vm_mac_is_valid(seen[i]));
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(seen[i], seen[j], VM_MAC_LEN);
    }
}

static void
a_taken_address_gives_another_one(void **state)
{
    uint8_t a[VM_MAC_LEN], b[VM_MAC_LEN];

    (void)state;
    assert_int_equal(vm_mac_alloc(7, is_free, NULL, a), 0);
    assert_int_equal(vm_mac_alloc(7, is_same, a, b), 0);
    assert_memory_not_equal(a, b, VM_MAC_LEN);
    assert_true(vm_mac_is_valid(b));
}

static void
the_search_is_bounded(void **state)
{
    uint8_t mac[VM_MAC_LEN] = {1, 2, 3, 4, 5, 6};
    unsigned asked = 0;

    (void)state;
    assert_int_equal(vm_mac_alloc(7, is_taken, &asked, mac), -ENOSPC);
    assert_int_equal(asked, VM_MAC_TRIES);
    assert_int_equal(mac[0], 1);
}

static void
other_kinds_of_address_are_not_valid(void **state)
{
    static const uint8_t bad[][VM_MAC_LEN] = {
        {0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x03}, {0x00, 0x16, 0x3e}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(vm_mac_is_valid(bad[i]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_follows_from_the_key_alone),
        cmocka_unit_test(addresses_are_local_of_one_station_and_differ),
        cmocka_unit_test(a_taken_address_gives_another_one),
        cmocka_unit_test(the_search_is_bounded),
        cmocka_unit_test(other_kinds_of_address_are_not_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
