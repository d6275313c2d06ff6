/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/resize.h"

#include <assert.h>

#include "core/base/cleanup.h"

#define S(name) DISK_RESIZE_##name
#define EV(name) DISK_RESIZE_EV_##name

/* A file system that only says that it has begun is waited for; one that is done at once
 * is not. */
static const enum disk_resize_state
    table[DISK_RESIZE_STATE_COUNT][DISK_RESIZE_EVENT_COUNT] = {
        [S(GROW_DISK)] = {[EV(OK)] = S(GROW_FS), [EV(FAILED)] = S(FAILED)},
        [S(GROW_FS)] = {[EV(OK)] = S(DONE),
                        [EV(STARTED)] = S(GROW_WAIT),
                        [EV(FAILED)] = S(GROW_UNDO),
                        [EV(UNSURE)] = S(FAILED)},
        [S(GROW_WAIT)] = {[EV(OK)] = S(DONE),
                          [EV(FAILED)] = S(GROW_UNDO),
                          [EV(UNSURE)] = S(FAILED)},
        [S(GROW_UNDO)] = {[EV(OK)] = S(FAILED), [EV(FAILED)] = S(FAILED)},
        [S(SHRINK_FS)] = {[EV(OK)] = S(SHRINK_DISK),
                          [EV(STARTED)] = S(SHRINK_WAIT),
                          [EV(FAILED)] = S(FAILED),
                          [EV(UNSURE)] = S(SHRINK_UNDO)},
        [S(SHRINK_WAIT)] = {[EV(OK)] = S(SHRINK_DISK),
                            [EV(FAILED)] = S(SHRINK_UNDO),
                            [EV(UNSURE)] = S(SHRINK_UNDO)},
        [S(SHRINK_DISK)] = {[EV(OK)] = S(DONE), [EV(FAILED)] = S(SHRINK_UNDO)},
        [S(SHRINK_UNDO)] = {[EV(OK)] = S(FAILED),
                            [EV(STARTED)] = S(FAILED),
                            [EV(FAILED)] = S(FAILED),
                            [EV(UNSURE)] = S(FAILED)},
};

static const struct {
    const char *name;
    unsigned percent;
} states[] = {
    [S(NONE)] = {"none", 0},
    [S(GROW_DISK)] = {"grow-disk", 10},
    [S(GROW_FS)] = {"grow-fs", 30},
    [S(GROW_WAIT)] = {"grow-wait", 50},
    [S(GROW_UNDO)] = {"grow-undo", 90},
    [S(SHRINK_FS)] = {"shrink-fs", 10},
    [S(SHRINK_WAIT)] = {"shrink-wait", 30},
    [S(SHRINK_DISK)] = {"shrink-disk", 80},
    [S(SHRINK_UNDO)] = {"shrink-undo", 90},
    [S(DONE)] = {"done", 99},
    [S(FAILED)] = {"failed", 99},
};
static_assert(VMT_ARRAY_SIZE(states) == DISK_RESIZE_STATE_COUNT, "a state has no name");

enum disk_resize_state
disk_resize_next(enum disk_resize_state state, enum disk_resize_event event)
{
    return table[state][event];
}

const char *
disk_resize_state_name(enum disk_resize_state state)
{
    return states[state].name;
}

unsigned
disk_resize_percent(enum disk_resize_state state)
{
    return states[state].percent;
}
