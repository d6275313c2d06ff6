/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/lifecycle.h"

#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

/* The whole table once more, in the shape of a picture: a reader can check it, and a slip
 * in one of the two shows. Rows: states from created on; columns: events. */
static const char *const expected[VM_STATE_COUNT][VM_EVENT_COUNT] = {
    [VM_CREATED] = {[VM_EV_PROBED] = "spawning launch",
                    [VM_EV_FAILED] = "releasing release",
                    [VM_EV_STOP] = "releasing release"},
    [VM_SPAWNING] = {[VM_EV_CONTROL] = "booting none",
                     [VM_EV_READY] = "configuring configure",
                     [VM_EV_FALL_BACK] = "falling-back fall-back",
                     [VM_EV_FAILED] = "quitting quit",
                     [VM_EV_STOP] = "quitting quit",
                     [VM_EV_EXIT] = "releasing release"},
    [VM_BOOTING] = {[VM_EV_CONTROL] = "booting none",
                    [VM_EV_READY] = "configuring configure",
                    [VM_EV_FALL_BACK] = "falling-back fall-back",
                    [VM_EV_FAILED] = "quitting quit",
                    [VM_EV_STOP] = "quitting quit",
                    [VM_EV_EXIT] = "releasing release"},
    [VM_FALLING_BACK] = {[VM_EV_CONTROL] = "falling-back none",
                         [VM_EV_FAILED] = "killing kill",
                         [VM_EV_STOP] = "killing kill",
                         [VM_EV_TIMEOUT] = "killing kill",
                         [VM_EV_EXIT] = "rebooting start-over"},
    [VM_REBOOTING] = {[VM_EV_PROBED] = "spawning relaunch",
                      [VM_EV_FAILED] = "releasing release",
                      [VM_EV_STOP] = "releasing release"},
    [VM_CONFIGURING] = {[VM_EV_FALL_BACK] = "falling-back fall-back",
                        [VM_EV_CONTROL] = "configuring none",
                        [VM_EV_TIMEOUT] = "configuring configure",
                        [VM_EV_CONFIGURED] = "running announce",
                        [VM_EV_FAILED] = "quitting quit",
                        [VM_EV_STOP] = "asking ask",
                        [VM_EV_EXIT] = "releasing release"},
    [VM_RUNNING] = {[VM_EV_CONTROL] = "running none",
                    [VM_EV_FAILED] = "quitting quit",
                    [VM_EV_STOP] = "asking ask",
                    [VM_EV_SUSPEND] = "preparing prepare",
                    [VM_EV_UNPAUSED] = "running catch-up",
                    [VM_EV_EXIT] = "releasing release"},
    [VM_PREPARING] = {[VM_EV_CONTROL] = "preparing none",
                      [VM_EV_AGENT_OK] = "pausing pause",
                      [VM_EV_AGENT_FAILED] = "pausing pause",
                      [VM_EV_TIMEOUT] = "pausing pause",
                      [VM_EV_RESUME] = "running stay",
                      [VM_EV_UNPAUSED] = "preparing none",
                      [VM_EV_FAILED] = "quitting quit",
                      [VM_EV_STOP] = "asking ask",
                      [VM_EV_EXIT] = "releasing release"},
    [VM_PAUSING] = {[VM_EV_CONTROL] = "pausing pause",
                    [VM_EV_PAUSED] = "suspended rest",
                    [VM_EV_PAUSE_FAILED] = "running stay",
                    [VM_EV_TIMEOUT] = "running stay",
                    [VM_EV_RESUME] = "resuming unpause",
                    [VM_EV_FAILED] = "quitting quit",
                    [VM_EV_STOP] = "asking wake",
                    [VM_EV_EXIT] = "releasing release"},
    [VM_SUSPENDED] = {[VM_EV_CONTROL] = "suspended hold",
                      [VM_EV_RESUME] = "resuming unpause",
                      [VM_EV_UNPAUSED] = "running catch-up",
                      [VM_EV_FAILED] = "quitting quit",
                      [VM_EV_STOP] = "asking wake",
                      [VM_EV_EXIT] = "releasing release"},
    [VM_RESUMING] = {[VM_EV_CONTROL] = "resuming unpause",
                     [VM_EV_UNPAUSED] = "running catch-up",
                     [VM_EV_PAUSE_FAILED] = "suspended sleep-on",
                     [VM_EV_TIMEOUT] = "suspended sleep-on",
                     [VM_EV_SUSPEND] = "pausing pause",
                     [VM_EV_FAILED] = "quitting quit",
                     [VM_EV_STOP] = "asking ask",
                     [VM_EV_EXIT] = "releasing release"},
    [VM_ASKING] = {[VM_EV_CONTROL] = "asking none",
                   [VM_EV_STOP] = "asking none",
                   [VM_EV_AGENT_OK] = "waiting wait",
                   [VM_EV_AGENT_FAILED] = "quitting quit",
                   [VM_EV_FAILED] = "quitting quit",
                   [VM_EV_TIMEOUT] = "quitting quit",
                   [VM_EV_EXIT] = "releasing release"},
    [VM_WAITING] = {[VM_EV_CONTROL] = "waiting none",
                    [VM_EV_STOP] = "waiting none",
                    [VM_EV_FAILED] = "waiting none",
                    [VM_EV_TIMEOUT] = "quitting quit",
                    [VM_EV_EXIT] = "releasing release"},
    [VM_QUITTING] = {[VM_EV_CONTROL] = "quitting none",
                     [VM_EV_STOP] = "quitting none",
                     [VM_EV_FAILED] = "quitting none",
                     [VM_EV_TIMEOUT] = "terminating term",
                     [VM_EV_EXIT] = "releasing release"},
    [VM_TERMINATING] = {[VM_EV_CONTROL] = "terminating none",
                        [VM_EV_STOP] = "terminating none",
                        [VM_EV_FAILED] = "terminating none",
                        [VM_EV_TIMEOUT] = "killing kill",
                        [VM_EV_EXIT] = "releasing release"},
    [VM_KILLING] = {[VM_EV_CONTROL] = "killing none",
                    [VM_EV_STOP] = "killing none",
                    [VM_EV_FAILED] = "killing none",
                    [VM_EV_TIMEOUT] = "stuck give-up",
                    [VM_EV_EXIT] = "releasing release"},
    [VM_STUCK] = {[VM_EV_CONTROL] = "stuck none",
                  [VM_EV_FAILED] = "stuck none",
                  [VM_EV_STOP] = "killing kill",
                  [VM_EV_EXIT] = "releasing release"},
    [VM_RELEASING] = {[VM_EV_STOP] = "releasing none",
                      [VM_EV_FAILED] = "releasing none",
                      [VM_EV_TIMEOUT] = "releasing kill-companion",
                      [VM_EV_COMPANION_EXIT] = "gone finish"},
};

static void
every_cell_is_as_the_specification_wants_it(void **state)
{
    (void)state;
    for (int s = 0; s < VM_STATE_COUNT; s++) {
        for (int e = 0; e < VM_EVENT_COUNT; e++) {
            struct vm_cell cell = vm_lifecycle_next((enum vm_state)s, (enum vm_event)e);
            char got[64] = "";

            if (cell.state != VM_STATE_NONE)
                (void)snprintf(got, sizeof(got), "%s %s", vm_state_name(cell.state),
                               vm_action_name(cell.action));
            if (strcmp(got, expected[s][e] ? expected[s][e] : "") != 0)
                fail_msg("%s on %s gives \"%s\"", vm_state_name((enum vm_state)s),
                         vm_event_name((enum vm_event)e), got);
        }
    }
}

/* From every state that a VM can be in, an end of the hypervisor and of its companion
 * leads to gone, and nothing leads away from there. Only the end of a restored guest that
 * was of no use is followed by a boot, and that happens once. */
static void
every_life_can_end_and_ends_once(void **state)
{
    (void)state;
    for (int s = VM_SPAWNING; s < VM_RELEASING; s++) {
        struct vm_cell cell = vm_lifecycle_next((enum vm_state)s, VM_EV_EXIT);

        if (s == VM_FALLING_BACK || s == VM_REBOOTING)
            cell = vm_lifecycle_next(VM_REBOOTING, VM_EV_FAILED);
        assert_int_equal(cell.state, VM_RELEASING);
        assert_int_equal(cell.action, VM_ACT_RELEASE);
    }
    for (int e = 0; e < VM_EVENT_COUNT; e++)
        assert_int_equal(vm_lifecycle_next(VM_GONE, (enum vm_event)e).state,
                         VM_STATE_NONE);
}

/* Timeouts alone carry a stop through every step: nobody has to cooperate. */
static void
a_stop_escalates_by_time_alone(void **state)
{
    static const enum vm_action steps[] = {VM_ACT_QUIT, VM_ACT_TERM, VM_ACT_KILL,
                                           VM_ACT_GIVE_UP};
    struct vm_cell cell = vm_lifecycle_next(VM_RUNNING, VM_EV_STOP);

    (void)state;
    assert_int_equal(cell.action, VM_ACT_ASK);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(steps); i++) {
        cell = vm_lifecycle_next(cell.state, VM_EV_TIMEOUT);
        assert_int_equal(cell.action, steps[i]);
    }
    assert_int_equal(cell.state, VM_STUCK);
}

static void
names_are_unique(void **state)
{
    (void)state;
    for (int a = 0; a < VM_STATE_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(vm_state_name((enum vm_state)a),
                                    vm_state_name((enum vm_state)b));
    for (int a = 0; a < VM_EVENT_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(vm_event_name((enum vm_event)a),
                                    vm_event_name((enum vm_event)b));
    for (int a = 0; a < VM_ACTION_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(vm_action_name((enum vm_action)a),
                                    vm_action_name((enum vm_action)b));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_as_the_specification_wants_it),
        cmocka_unit_test(every_life_can_end_and_ends_once),
        cmocka_unit_test(a_stop_escalates_by_time_alone),
        cmocka_unit_test(names_are_unique),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
