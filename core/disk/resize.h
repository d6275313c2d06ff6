/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/resize.h - the steps of resizing the disk of a running VM. Pure.
 * Growing: the disk first, then the file system in it; shrinking: the other way round.
 * What was done is undone when a later step fails, so that disk and file system never
 * stay apart (spec/concierge.md 9.7 and 15.12) - but no disk is cut below a file system
 * that may have grown: a larger disk costs room, a shorter one data. */
#pragma once

enum disk_resize_state {
    DISK_RESIZE_NONE = 0,  /* "no such transition" */
    DISK_RESIZE_GROW_DISK, /* the hypervisor enlarges the disk */
    DISK_RESIZE_GROW_FS,   /* the guest is asked to enlarge its file system */
    DISK_RESIZE_GROW_WAIT, /* and is at it */
    DISK_RESIZE_GROW_UNDO, /* the hypervisor gives the disk its old size back */
    DISK_RESIZE_SHRINK_FS,
    DISK_RESIZE_SHRINK_WAIT,
    DISK_RESIZE_SHRINK_DISK,
    DISK_RESIZE_SHRINK_UNDO, /* the guest enlarges its file system again */
    DISK_RESIZE_DONE,
    DISK_RESIZE_FAILED,
    DISK_RESIZE_STATE_COUNT
};

enum disk_resize_event {
    DISK_RESIZE_EV_OK = 0,  /* the step is done */
    DISK_RESIZE_EV_STARTED, /* the guest is at it */
    DISK_RESIZE_EV_FAILED,
    DISK_RESIZE_EV_UNSURE, /* failed, and the file system may be larger than it was */
    DISK_RESIZE_EVENT_COUNT
};

/* The next state; DISK_RESIZE_NONE for an event that means nothing there. */
enum disk_resize_state disk_resize_next(enum disk_resize_state state,
                                        enum disk_resize_event event);
const char *disk_resize_state_name(enum disk_resize_state state);
/* Rough share of the work that is done, 0 .. 99. */
unsigned disk_resize_percent(enum disk_resize_state state);
