/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/identity.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static const uint8_t bytes[IDENTITY_ENTROPY_MAX + 1] = {0x52};

static void
expect(const struct identity *id, const char *refusal)
{
    struct vmt_err err = {0};
    int r = identity_check(id, &err);

    assert_int_equal(r, refusal ? -EINVAL : 0);
    if (refusal)
        assert_non_null(strstr(err.msg, refusal));
}

static void
what_is_unset_is_fine(void **state)
{
    const struct identity none = {0};
    const struct identity empty = {.machine_id = "", .hostname = "", .timezone = ""};

    (void)state;
    expect(&none, NULL);
    expect(&empty, NULL);
}

static void
machine_ids_are_those_of_systemd(void **state)
{
    static const char *const bad[] = {
        "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef0",
        "0123456789ABCDEF0123456789ABCDEF", "00000000000000000000000000000000",
        "0123456789abcdef0123456789abcde\n"};
    struct identity id = {.machine_id = "0123456789abcdef0123456789abcdef"};

    (void)state;
    expect(&id, NULL);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        id.machine_id = bad[i];
        expect(&id, "machine id");
    }
}

static void
host_names_have_no_strange_bytes(void **state)
{
    static const char *const good[] = {"a", "vm-1", "a.b-c.example", "0"};
    static const char *const bad[] = {"-a",
                                      "a-",
                                      ".a",
                                      "a.",
                                      "a b",
                                      "a/b",
                                      "a\n",
                                      ("0123456789012345678901234567890123456789"
                                       "0123456789012345678901234")};
    struct identity id = {0};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(good); i++) {
        id.hostname = good[i];
        expect(&id, NULL);
    }
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        id.hostname = bad[i];
        expect(&id, "name of a host");
    }
}

static void
entropy_and_addresses_have_their_sizes(void **state)
{
    static const uint8_t group[IDENTITY_MAC_LEN] = {0x01};
    struct identity id = {.entropy = bytes, .nentropy = IDENTITY_ENTROPY_MIN};

    (void)state;
    expect(&id, NULL);
    id.nentropy = IDENTITY_ENTROPY_MIN - 1;
    expect(&id, "entropy has 31 bytes");
    id.nentropy = IDENTITY_ENTROPY_MAX + 1;
    expect(&id, "entropy has 513 bytes");
    id = (struct identity){.mac = bytes, .nmac = IDENTITY_MAC_LEN};
    expect(&id, NULL);
    id.nmac--;
    expect(&id, "address of one interface");
    id = (struct identity){.mac = group, .nmac = IDENTITY_MAC_LEN};
    expect(&id, "address of one interface");
    id = (struct identity){.wall_time_ns = -1};
    expect(&id, "before 1970");
}

static void
a_disk_that_is_not_there_is_not_found(void **state)
{
    (void)state;
    assert_false(identity_has_disk("no such serial anywhere"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_unset_is_fine),
        cmocka_unit_test(machine_ids_are_those_of_systemd),
        cmocka_unit_test(host_names_have_no_strange_bytes),
        cmocka_unit_test(entropy_and_addresses_have_their_sizes),
        cmocka_unit_test(a_disk_that_is_not_there_is_not_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
