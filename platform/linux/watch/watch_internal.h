/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/watch/watch_internal.h - shared by the files of this room. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "platform/linux/watch/watch.h"

struct event;

#define WATCH_PLACES_MAX 32

/* One name in one folder that matters, or with the name "" a file. */
struct watch_place {
    int wd;
    char name[NAME_MAX + 1];
    enum host_change what;
};

struct watch_files {
    int fd; /* inotify; owned, -1: none */
    struct watch_place places[WATCH_PLACES_MAX];
    size_t n;
};

/* Watch every name that leads to one of the paths, as things are now, and nothing else.
 * Returns 0 or -errno: then as much as possible is watched. */
int watch_files_set(struct watch_files *files, const struct linux_watch_config *config);
/* Read what inotify has. changed[what] is set where a name that matters did. */
void watch_files_read(struct watch_files *files, bool changed[HOST_CHANGE_COUNT]);

/* The wall clock: a timer that is cancelled when it is set, and the time that the machine
 * slept. */
struct watch_clock {
    int fd; /* timerfd; owned, -1: none */
    long long slept_ms;
};
int watch_clock_open(struct watch_clock *clock);
/* Look, and arm again. Returns whether the clock was set or the machine slept. */
bool watch_clock_changed(struct watch_clock *clock);
