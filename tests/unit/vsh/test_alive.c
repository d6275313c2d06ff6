/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/alive.h"

#include "tests/unit/test.h"

static void
a_guest_that_says_something_is_left_alone(void **state)
{
    struct vsh_alive alive = {.silence_ms = 1200};
    unsigned ms = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        ms = 0;
        assert_int_equal(vsh_alive_tick(&alive, true, &ms), VSH_ALIVE_WAIT);
        assert_int_equal(ms, 1200);
    }
}

static void
a_silent_guest_that_can_be_reached_is_waited_for(void **state)
{
    struct vsh_alive alive = {.silence_ms = 1200};
    unsigned ms = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(vsh_alive_tick(&alive, false, &ms), VSH_ALIVE_LOOK);
        ms = 0;
        assert_int_equal(vsh_alive_looked(&alive, true, &ms), VSH_ALIVE_WAIT);
        assert_int_equal(ms, 1200);
    }
}

/* Bring it to the question. */
static void
fail_until_asked(struct vsh_alive *alive)
{
    unsigned ms = 0;

    for (unsigned i = 1; i < VSH_ALIVE_FAILURES; i++) {
        assert_int_equal(vsh_alive_tick(alive, false, &ms), VSH_ALIVE_LOOK);
        assert_int_equal(vsh_alive_looked(alive, false, &ms), VSH_ALIVE_WAIT);
        assert_int_equal(ms, 300);
    }
    assert_int_equal(vsh_alive_tick(alive, false, &ms), VSH_ALIVE_LOOK);
    assert_int_equal(vsh_alive_looked(alive, false, &ms), VSH_ALIVE_ASK);
}

static void
one_that_cannot_be_reached_is_gone_after_some_tries(void **state)
{
    struct vsh_alive alive = {.silence_ms = 1200};
    unsigned ms;

    (void)state;
    fail_until_asked(&alive);
    assert_int_equal(vsh_alive_told(&alive, false, &ms), VSH_ALIVE_GONE);
    assert_int_equal(vsh_alive_timeout_ms(&alive), 400);
}

static void
one_that_is_suspended_is_waited_for_and_tried_anew(void **state)
{
    struct vsh_alive alive = {.silence_ms = 1200};
    unsigned ms = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        fail_until_asked(&alive);
        assert_int_equal(vsh_alive_told(&alive, true, &ms), VSH_ALIVE_WAIT);
        assert_int_equal(ms, 1200);
    }
}

static void
a_word_in_between_starts_the_count_anew(void **state)
{
    struct vsh_alive alive = {.silence_ms = 1200};
    unsigned ms;

    (void)state;
    for (unsigned i = 1; i < VSH_ALIVE_FAILURES; i++) {
        (void)vsh_alive_tick(&alive, false, &ms);
        (void)vsh_alive_looked(&alive, false, &ms);
    }
    (void)vsh_alive_tick(&alive, true, &ms);
    fail_until_asked(&alive);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_that_says_something_is_left_alone),
        cmocka_unit_test(a_silent_guest_that_can_be_reached_is_waited_for),
        cmocka_unit_test(one_that_cannot_be_reached_is_gone_after_some_tries),
        cmocka_unit_test(one_that_is_suspended_is_waited_for_and_tried_anew),
        cmocka_unit_test(a_word_in_between_starts_the_count_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
