/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/uevent.h"

#include <errno.h>

#include "tests/unit/test.h"

static void
values_are_found_by_their_whole_key(void **state)
{
    static const char event[] =
        "add@/devices/x\0ACTION=add\0DEVNAME=input/event3\0DEV=no";

    (void)state;
    assert_string_equal(uevent_find(event, sizeof(event), "DEVNAME"), "input/event3");
    assert_string_equal(uevent_find(event, sizeof(event), "DEV"), "no");
    assert_null(uevent_find(event, sizeof(event), "NAME"));
    assert_null(uevent_find(event, 0, "ACTION"));
}

static void
a_path_that_exists_is_not_waited_for(void **state)
{
    (void)state;
    assert_int_equal(uevent_wait_path(-1, "/dev/null", 0), 0);
    assert_int_equal(uevent_wait_path(-1, "/dev/no-such-device", 0), -ETIMEDOUT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found_by_their_whole_key),
        cmocka_unit_test(a_path_that_exists_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
