/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/respawn.h - when a program that ended is started again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Source: platform2 vm_tools/maitred/init.cc: 10 starts in 30 s are too many. */
#define RESPAWN_STARTS_MAX 10
#define RESPAWN_WINDOW_MS 30000u
/* Our own: the second start in a window comes at once, later ones wait 0.1, 0.2, 0.4 ...
 * 3.2 s, so that all ten fit in the window and a program that cannot work costs little.
 */
#define RESPAWN_DELAY_FIRST_MS 100u
#define RESPAWN_DELAY_MAX_MS 3200u

/* All zeroes: never started. Times are monotonic, so that setting the clock changes
 * nothing. */
struct respawn {
    uint64_t starts_ms[RESPAWN_STARTS_MAX]; /* oldest first */
    size_t n;
};

/* How many starts are within the window. */
unsigned respawn_recent(const struct respawn *r, uint64_t now_ms);

/* The program was started, or its start was tried. */
void respawn_started(struct respawn *r, uint64_t now_ms);

/* The program ended: may it be started again, and after which delay? */
bool respawn_next(struct respawn *r, uint64_t now_ms, uint64_t *ret_delay_ms);
