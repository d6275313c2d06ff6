/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "core/disk/resize.h"
#include "tests/unit/test.h"

/* o: ok, s: started, u: unsure, f: failed */
static enum disk_resize_state
walk(enum disk_resize_state state, const char *events)
{
    for (; *events; events++)
        state = disk_resize_next(state, *events == 'o'   ? DISK_RESIZE_EV_OK
                                        : *events == 's' ? DISK_RESIZE_EV_STARTED
                                        : *events == 'u' ? DISK_RESIZE_EV_UNSURE
                                                         : DISK_RESIZE_EV_FAILED);
    return state;
}

static void
every_path_has_its_end(void **state)
{
    (void)state;
    assert_int_equal(walk(DISK_RESIZE_GROW_DISK, "oso"), DISK_RESIZE_DONE);
    assert_int_equal(walk(DISK_RESIZE_GROW_DISK, "oo"), DISK_RESIZE_DONE);
    assert_int_equal(walk(DISK_RESIZE_GROW_DISK, "f"), DISK_RESIZE_FAILED);
    assert_int_equal(walk(DISK_RESIZE_GROW_DISK, "of"), DISK_RESIZE_GROW_UNDO);
    assert_int_equal(walk(DISK_RESIZE_GROW_DISK, "osf"), DISK_RESIZE_GROW_UNDO);
    assert_int_equal(walk(DISK_RESIZE_GROW_DISK, "ou"), DISK_RESIZE_FAILED);
    assert_int_equal(walk(DISK_RESIZE_GROW_DISK, "osu"), DISK_RESIZE_FAILED);
    assert_int_equal(walk(DISK_RESIZE_SHRINK_FS, "su"), DISK_RESIZE_SHRINK_UNDO);
    assert_int_equal(walk(DISK_RESIZE_GROW_UNDO, "o"), DISK_RESIZE_FAILED);
    assert_int_equal(walk(DISK_RESIZE_GROW_UNDO, "f"), DISK_RESIZE_FAILED);
    assert_int_equal(walk(DISK_RESIZE_SHRINK_FS, "soo"), DISK_RESIZE_DONE);
    assert_int_equal(walk(DISK_RESIZE_SHRINK_FS, "f"), DISK_RESIZE_FAILED);
    assert_int_equal(walk(DISK_RESIZE_SHRINK_FS, "sf"), DISK_RESIZE_SHRINK_UNDO);
    assert_int_equal(walk(DISK_RESIZE_SHRINK_FS, "sof"), DISK_RESIZE_SHRINK_UNDO);
    assert_int_equal(walk(DISK_RESIZE_SHRINK_UNDO, "s"), DISK_RESIZE_FAILED);
}

/* No event leads into a state from which there is no end, nor to a success after an
 * undoing. */
static void
no_cell_leads_astray(void **state)
{
    (void)state;
    for (int s = 0; s < DISK_RESIZE_STATE_COUNT; s++) {
        enum disk_resize_state from = (enum disk_resize_state)s;
        int out = 0;

        for (int e = 0; e < DISK_RESIZE_EVENT_COUNT; e++) {
            enum disk_resize_state to = disk_resize_next(from, (enum disk_resize_event)e);

            out += to != DISK_RESIZE_NONE;
            if (from == DISK_RESIZE_GROW_UNDO || from == DISK_RESIZE_SHRINK_UNDO)
                assert_int_not_equal(to, DISK_RESIZE_DONE);
            if (to != DISK_RESIZE_NONE)
                assert_true(disk_resize_percent(to) >= disk_resize_percent(from));
        }
        if (from == DISK_RESIZE_NONE || from == DISK_RESIZE_DONE ||
            from == DISK_RESIZE_FAILED)
            assert_int_equal(out, 0);
        else
            assert_true(out >= 2);
        assert_true(strlen(disk_resize_state_name(from)) > 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_has_its_end),
        cmocka_unit_test(no_cell_leads_astray),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
