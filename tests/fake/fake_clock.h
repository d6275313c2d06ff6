/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_clock.h - a clock that moves only when it is told to. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/clock.h"

struct fake_clock;

/* Starts at 1 s, the wall at 1700000000 s. Returns NULL without memory. */
struct fake_clock *fake_clock_new(void);
/* Timers that are left are released without a call. */
void fake_clock_free(struct fake_clock *clock);

struct vmt_clock *fake_clock_base(struct fake_clock *clock);

/* Move on by ms and run what falls due, in order, each at its own time; also what those
 * start, as far as it falls within. 0 runs what is due now. A chain that never ends
 * asserts. */
void fake_clock_advance(struct fake_clock *clock, uint64_t ms);

/* The machine sleeps: ms go by and nothing runs. What fell due meanwhile runs with the
 * next advance, late. */
void fake_clock_sleep(struct fake_clock *clock, uint64_t ms);

/* Jump from timer to timer until *done or max_ms are over. Returns *done. */
bool fake_clock_run_until(struct fake_clock *clock, const bool *done, uint64_t max_ms);

/* Timers that wait. */
size_t fake_clock_pending(const struct fake_clock *clock);

/* Milliseconds to the next timer, UINT64_MAX without one. */
uint64_t fake_clock_next_ms(const struct fake_clock *clock);

void fake_clock_set_wall(struct fake_clock *clock, int64_t sec);
