/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/sim/sim.h - one simulated life of a concierge: what may happen, and what must
 * hold whatever happens. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/concierge/guest.h"
#include "tests/unit/concierge/world.h"

#define SIM_NAMES_MAX 40
#define SIM_CALLS_MAX 512
#define SIM_GUESTS_MAX 512

/* The longest that a call may go unanswered: a start waits for its guest for 600 s at
 * most and then for its stop; everything else waits for a stop, or for calls to the
 * agent. */
#define SIM_START_LIMIT_MS (600000u + 120000u)
#define SIM_CALL_LIMIT_MS 240000u
/* A snapshot waits for each of its steps: 720 s if each takes as long as it may. */
#define SIM_SNAPSHOT_LIMIT_MS 760000u

struct sim_call {
    struct client_call call;
    const char *method;
    uint64_t deadline_ms;
};

struct sim_guest {
    uint32_t cid;
    struct guest *guest;
    struct rpc_status status;
    int answers;
};

/* What happened in all lives so far, for the last line. */
struct sim_totals {
    uint64_t lives, deeds, calls, starts, restarts, faults;
};

struct sim {
    struct world w;
    uint64_t random;
    unsigned names;               /* how many VMs there may be */
    bool stopping[SIM_NAMES_MAX]; /* the VM of this number was said to stop, for good */
    bool saves;                   /* it is mostly about saved states */
    struct sim_call calls[SIM_CALLS_MAX];
    size_t ncalls;
    struct sim_guest guests[SIM_GUESTS_MAX];
    size_t nguests;
    struct sim_totals *totals; /* borrowed */
};

/* A number below n, which is at least 1. */
unsigned sim_dice(struct sim *s, unsigned n);
/* "vm0" and so on; valid until the next but four. */
const char *sim_name(struct sim *s);
/* Where the answer to a call goes. NULL: the life has called enough. */
struct sim_call *sim_call_new(struct sim *s, const char *method);

/* From now on VMs get a tap each, of few subnets or of many. */
void sim_give_taps(struct sim *s);

/* --- saved.c --- */
/* From now on starts leave templates. */
void sim_give_templates(struct sim *s);
/* Is it the throw-away VM of a template? */
bool sim_makes_template(const struct fake_process *p);
void sim_template_ready(struct sim *s);
/* One of a few; a literal. */
const char *sim_snapshot_name(struct sim *s);
void sim_snapshot(struct sim *s);
void sim_spoil(struct sim *s);
void sim_fail_states(struct sim *s);
void sim_end_saved(struct sim *s);
/* One more thing that happens, of those that need some way to get to. */
void sim_saved_deed(struct sim *s);

/* The agent of some VM that runs comes up, or calls VmReady again. */
void sim_ready(struct sim *s);

/* One thing happens. */
void sim_deed(struct sim *s);
/* What happens to no VM in particular ends, and all VMs are stopped. */
void sim_calm_down(struct sim *s);

/* Hears the signals. */
void sim_on_signal(struct world *w, const char *name, const ProtobufCMessage *m);
/* What must hold after every deed, and at the end. Fail the process if it does not. */
void sim_check(struct sim *s);
void sim_check_end(struct sim *s);
/* What must hold when nothing is wrong with the world any more. */
void sim_check_calm(struct sim *s);
