/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/balloon.h - how much memory the balloon of each VM shall hold. Pure: no clock,
 * no I/O; one step per timer tick, host first, then every VM that was looked at.
 * Source of the formula: spec/concierge.md 12; pressure, the floor below the guest's
 * critical mark and the budget that VMs share are ours. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What the host says, bytes. Shares are hundredths of a percent of the last 10 s. */
struct balloon_host {
    uint64_t total;        /* RAM */
    uint64_t available;    /* could be given to programs without swapping */
    uint32_t some_stalled; /* some task waited for memory; 0 where nobody measures it */
    uint32_t all_stalled;  /* all of them did */
};

/* Kept from step to step, all zeroes at first. */
struct balloon_budget {
    uint64_t penalty; /* bytes that the host shall have beyond its margin: it stalls */
    int64_t above;    /* bytes above what the host needs, less what this step gave */
};

/* What one guest says, bytes. Guests lie: values beyond its RAM count as its RAM. */
struct balloon_sample {
    uint64_t available; /* free and disk caches */
    uint64_t balloon;   /* held by the balloon now */
};

/* Kept from step to step; all zeroes but ram at first. */
struct balloon_guest {
    uint64_t ram;      /* that it was started with, at least 1 */
    uint64_t critical; /* available below this hurts it; 0: not looked at yet */
    uint64_t previous; /* available at the last look */
    uint64_t balloon;  /* at the last look */
    uint64_t target;   /* that was set last, or not 0 if nobody knows what was */
    uint64_t said;     /* available as the guest reported it */
    uint64_t said_at;  /* what the balloon held when it began to say so */
    unsigned repeats;  /* looks that found the same */
    unsigned settling; /* looks until what the guest says is surely newer than target */
    bool was_low;      /* the last look found it below critical */
};

/* Begin a step: what is there to share. */
void balloon_budget_begin(struct balloon_budget *budget, const struct balloon_host *host);

/* Could a look at this guest lead to any change? No while it neither holds nor shall hold
 * anything and the host has more to spare than the guest could even have free: then
 * nobody is asked. */
bool balloon_wants_look(const struct balloon_budget *budget,
                        const struct balloon_guest *guest);

/* Decide about one guest, and charge the change to the budget. Returns whether the
 * balloon is to be set to *ret_target bytes: also to what it holds already, if it was set
 * to something that the guest has not come to yet. */
bool balloon_decide(struct balloon_budget *budget, struct balloon_guest *guest,
                    const struct balloon_sample *sample, uint64_t *ret_target);
