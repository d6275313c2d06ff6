/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/restart.h - whether a VM that ended is started again, and when. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum restart_mode { RESTART_NEVER = 0, RESTART_ON_FAILURE, RESTART_ALWAYS };

#define RESTART_DELAY_MS 1000u
#define RESTART_DELAY_MIN_MS 100u
#define RESTART_DELAY_MAX_MS 60000u
/* A VM that ran this long was no part of a crash loop. */
#define RESTART_STEADY_MS 60000u

struct restart_policy {
    enum restart_mode mode;
    uint32_t max;          /* in a row; 0: without limit */
    uint32_t delay_ms;     /* before the first; at least RESTART_DELAY_MIN_MS */
    uint32_t max_delay_ms; /* at least delay_ms */
};

struct restart_end {
    bool asked;  /* somebody wanted it */
    bool failed; /* the guest neither switched itself off nor asked for a reboot */
    bool reboot; /* it asked for one */
    uint64_t uptime_ms;
    unsigned restarts; /* in a row, up to now */
};

/* Pure. Returns whether to start again; then *ret_delay_ms from now, and *ret_restarts is
 * the new count. */
bool restart_decide(const struct restart_policy *policy, const struct restart_end *end,
                    uint32_t *ret_delay_ms, unsigned *ret_restarts);
