/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/follow_internal.h - guests follow the host: name servers, time zone,
 * clock, sleep. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/host.h"

struct concierge;
struct concierge_vm;
struct vmt_timer;

#define FOLLOW_ZONE_MAX 128

/* What a program rewrites in several steps is looked at when it is quiet. */
#define FOLLOW_QUIET_MS 300u
/* Of the time that the host leaves us before it sleeps: the guests' part of it, and all
 * that we use. */
#define SLEEP_PREPARE_PERCENT 50u
#define SLEEP_TOTAL_PERCENT 80u
#define SLEEP_BUDGET_MAX_MS 30000u

/* Part of the daemon. */
struct concierge_follow {
    struct host_dns dns;         /* as told last */
    char zone[FOLLOW_ZONE_MAX];  /* likewise, "" if nothing names it */
    uint32_t generation;         /* of both */
    struct vmt_timer *quiet;     /* owned */
    struct vmt_timer *sleep_end; /* owned while the host is about to sleep */
    bool sleeping;               /* from its announcement until the host is awake */
    unsigned suspending;         /* VMs that it waits for, and 1 while they are asked */
};

/* Read what there is, and watch it where that is possible. */
void follow_start(struct concierge *c);
void follow_stop(struct concierge *c);
/* The guest's set-up begins, with what the host has now. */
void follow_mark(struct concierge_vm *vm);
/* The guest runs, again or at last: tell it what changed since. */
void follow_catch_up(struct concierge_vm *vm);

/* Tell a guest that runs the time zone. */
void follow_zone(struct concierge_vm *vm);

/* --- power.c --- */
void power_start(struct concierge *c);
void power_stop(struct concierge *c);
