/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/lifecycle.c - the table.
 * A boot that fails skips the agent: it either is not there or is the thing that failed.
 * A guest that does not get ready for a suspension is suspended all the same; a
 * hypervisor that does not obey leaves the VM in the state that it had. A stop during
 * boot does the same before the agent reported ready. Every way ends in RELEASING and
 * GONE, so one place releases everything, whatever was taken. */
#include "core/vm/lifecycle.h"

#include <assert.h>

#include "core/base/cleanup.h"

#define ENDED [VM_EV_EXIT] = {VM_RELEASING, VM_ACT_RELEASE}
/* Before the guest has an identity: nothing of it is worth anything yet. */
#define FALLS_BACK [VM_EV_FALL_BACK] = {VM_FALLING_BACK, VM_ACT_FALL_BACK}
#define JOINS(state) [VM_EV_STOP] = {state, VM_ACT_NONE}
/* Facts that only the record needs; they may come late. */
#define NOTES(state) [VM_EV_CONTROL] = {state, VM_ACT_NONE}
#define SHRUGS(state) [VM_EV_FAILED] = {state, VM_ACT_NONE}

static const struct vm_cell table[VM_STATE_COUNT][VM_EVENT_COUNT] = {
    [VM_CREATED] = {[VM_EV_PROBED] = {VM_SPAWNING, VM_ACT_LAUNCH},
                    [VM_EV_FAILED] = {VM_RELEASING, VM_ACT_RELEASE},
                    [VM_EV_STOP] = {VM_RELEASING, VM_ACT_RELEASE}},
    [VM_SPAWNING] = {[VM_EV_CONTROL] = {VM_BOOTING, VM_ACT_NONE},
                     [VM_EV_READY] = {VM_CONFIGURING, VM_ACT_CONFIGURE},
                     FALLS_BACK,
                     [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                     [VM_EV_STOP] = {VM_QUITTING, VM_ACT_QUIT},
                     ENDED},
    [VM_BOOTING] = {NOTES(VM_BOOTING), [VM_EV_READY] = {VM_CONFIGURING, VM_ACT_CONFIGURE},
                    FALLS_BACK, [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                    [VM_EV_STOP] = {VM_QUITTING, VM_ACT_QUIT}, ENDED},
    [VM_FALLING_BACK] =
        {NOTES(VM_FALLING_BACK), [VM_EV_EXIT] = {VM_REBOOTING, VM_ACT_START_OVER},
         [VM_EV_FAILED] = {VM_KILLING, VM_ACT_KILL},
         [VM_EV_STOP] = {VM_KILLING, VM_ACT_KILL},
         [VM_EV_TIMEOUT] = {VM_KILLING, VM_ACT_KILL}},
    [VM_REBOOTING] = {[VM_EV_PROBED] = {VM_SPAWNING, VM_ACT_RELAUNCH},
                      [VM_EV_FAILED] = {VM_RELEASING, VM_ACT_RELEASE},
                      [VM_EV_STOP] = {VM_RELEASING, VM_ACT_RELEASE}},
    [VM_CONFIGURING] = {NOTES(VM_CONFIGURING),
                        FALLS_BACK, [VM_EV_CONFIGURED] = {VM_RUNNING, VM_ACT_ANNOUNCE},
                        /* the connection to the agent broke */
                        [VM_EV_TIMEOUT] = {VM_CONFIGURING, VM_ACT_CONFIGURE},
                        [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                        [VM_EV_STOP] = {VM_ASKING, VM_ACT_ASK}, ENDED},
    [VM_RUNNING] = {NOTES(VM_RUNNING), [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                    [VM_EV_STOP] = {VM_ASKING, VM_ACT_ASK},
                    [VM_EV_SUSPEND] = {VM_PREPARING, VM_ACT_PREPARE},
                    [VM_EV_UNPAUSED] = {VM_RUNNING, VM_ACT_CATCH_UP}, ENDED},
    [VM_PREPARING] = {NOTES(VM_PREPARING), [VM_EV_AGENT_OK] = {VM_PAUSING, VM_ACT_PAUSE},
                      [VM_EV_AGENT_FAILED] = {VM_PAUSING, VM_ACT_PAUSE},
                      [VM_EV_TIMEOUT] = {VM_PAUSING, VM_ACT_PAUSE},
                      [VM_EV_RESUME] = {VM_RUNNING, VM_ACT_STAY},
                      [VM_EV_UNPAUSED] = {VM_PREPARING, VM_ACT_NONE},
                      [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                      [VM_EV_STOP] = {VM_ASKING, VM_ACT_ASK}, ENDED},
    [VM_PAUSING] = {[VM_EV_CONTROL] = {VM_PAUSING, VM_ACT_PAUSE},
                    [VM_EV_PAUSED] = {VM_SUSPENDED, VM_ACT_REST},
                    [VM_EV_PAUSE_FAILED] = {VM_RUNNING, VM_ACT_STAY},
                    [VM_EV_TIMEOUT] = {VM_RUNNING, VM_ACT_STAY},
                    [VM_EV_RESUME] = {VM_RESUMING, VM_ACT_UNPAUSE},
                    [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                    [VM_EV_STOP] = {VM_ASKING, VM_ACT_WAKE},
                    ENDED},
    [VM_SUSPENDED] = {[VM_EV_CONTROL] = {VM_SUSPENDED, VM_ACT_HOLD},
                      [VM_EV_RESUME] = {VM_RESUMING, VM_ACT_UNPAUSE},
                      [VM_EV_UNPAUSED] = {VM_RUNNING, VM_ACT_CATCH_UP},
                      [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                      [VM_EV_STOP] = {VM_ASKING, VM_ACT_WAKE},
                      ENDED},
    [VM_RESUMING] = {[VM_EV_CONTROL] = {VM_RESUMING, VM_ACT_UNPAUSE},
                     [VM_EV_UNPAUSED] = {VM_RUNNING, VM_ACT_CATCH_UP},
                     [VM_EV_PAUSE_FAILED] = {VM_SUSPENDED, VM_ACT_SLEEP_ON},
                     [VM_EV_TIMEOUT] = {VM_SUSPENDED, VM_ACT_SLEEP_ON},
                     [VM_EV_SUSPEND] = {VM_PAUSING, VM_ACT_PAUSE},
                     [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                     [VM_EV_STOP] = {VM_ASKING, VM_ACT_ASK},
                     ENDED},
    [VM_ASKING] = {NOTES(VM_ASKING),
                   JOINS(VM_ASKING), [VM_EV_AGENT_OK] = {VM_WAITING, VM_ACT_WAIT},
                   [VM_EV_AGENT_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                   [VM_EV_FAILED] = {VM_QUITTING, VM_ACT_QUIT},
                   [VM_EV_TIMEOUT] = {VM_QUITTING, VM_ACT_QUIT}, ENDED},
    [VM_WAITING] = {NOTES(VM_WAITING), JOINS(VM_WAITING),
                    SHRUGS(VM_WAITING), [VM_EV_TIMEOUT] = {VM_QUITTING, VM_ACT_QUIT},
                    ENDED},
    [VM_QUITTING] = {NOTES(VM_QUITTING), JOINS(VM_QUITTING),
                     SHRUGS(VM_QUITTING), [VM_EV_TIMEOUT] = {VM_TERMINATING, VM_ACT_TERM},
                     ENDED},
    [VM_TERMINATING] =
        {NOTES(VM_TERMINATING), JOINS(VM_TERMINATING),
         SHRUGS(VM_TERMINATING), [VM_EV_TIMEOUT] = {VM_KILLING, VM_ACT_KILL}, ENDED},
    [VM_KILLING] = {NOTES(VM_KILLING), JOINS(VM_KILLING),
                    SHRUGS(VM_KILLING), [VM_EV_TIMEOUT] = {VM_STUCK, VM_ACT_GIVE_UP},
                    ENDED},
    [VM_STUCK] = {NOTES(VM_STUCK),
                  SHRUGS(VM_STUCK), [VM_EV_STOP] = {VM_KILLING, VM_ACT_KILL}, ENDED},
    [VM_RELEASING] =
        {JOINS(VM_RELEASING),
         SHRUGS(VM_RELEASING), [VM_EV_TIMEOUT] = {VM_RELEASING, VM_ACT_KILL_COMPANION},
         [VM_EV_COMPANION_EXIT] = {VM_GONE, VM_ACT_FINISH}},
};

struct vm_cell
vm_lifecycle_next(enum vm_state state, enum vm_event event)
{
    assert(state < VM_STATE_COUNT && event < VM_EVENT_COUNT);
    return table[state][event];
}

static const char *const state_names[] = {
    "none",        "created",     "spawning", "booting",   "falling-back",
    "rebooting",   "configuring", "running",  "preparing", "pausing",
    "suspended",   "resuming",    "asking",   "waiting",   "quitting",
    "terminating", "killing",     "stuck",    "releasing", "gone",
};
static_assert(VMT_ARRAY_SIZE(state_names) == VM_STATE_COUNT, "a state lacks its name");

static const char *const event_names[] = {
    "probed",  "control",  "ready",        "fall-back", "configured",   "failed",
    "stop",    "agent-ok", "agent-failed", "timeout",   "exit",         "companion-exit",
    "suspend", "resume",   "paused",       "unpaused",  "pause-failed",
};
static_assert(VMT_ARRAY_SIZE(event_names) == VM_EVENT_COUNT, "an event lacks its name");

static const char *const action_names[] = {
    "none",      "launch",   "fall-back", "start-over", "relaunch",
    "configure", "announce", "ask",       "wait",       "quit",
    "term",      "kill",     "give-up",   "release",    "kill-companion",
    "finish",    "prepare",  "pause",     "rest",       "hold",
    "unpause",   "catch-up", "stay",      "sleep-on",   "wake",
};
static_assert(VMT_ARRAY_SIZE(action_names) == VM_ACTION_COUNT,
              "an action lacks its name");

const char *
vm_state_name(enum vm_state state)
{
    return state < VM_STATE_COUNT ? state_names[state] : "?";
}

const char *
vm_event_name(enum vm_event event)
{
    return event < VM_EVENT_COUNT ? event_names[event] : "?";
}

const char *
vm_action_name(enum vm_action action)
{
    return action < VM_ACTION_COUNT ? action_names[action] : "?";
}
