/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/balloon_internal.h - the balloons of all VMs, driven by one timer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/hypervisor.h"
#include "core/base/list.h"
#include "core/vm/balloon.h"

#define BALLOON_INTERVAL_MS 1000u /* spec 12 */
#define BALLOON_ANSWER_MS 100u    /* spec 4.3 */
#define BALLOON_INTERVAL_MIN_MS (2 * BALLOON_ANSWER_MS)
#define BALLOON_INTERVAL_MAX_MS 3600000u

struct concierge;
struct concierge_vm;
struct vmt_timer;

/* Of the daemon. */
struct balloons {
    struct vmt_timer *tick;  /* owned; NULL while there is no VM to look after */
    struct vmt_timer *close; /* owned: the end of a round, NULL between rounds */
    struct balloon_budget budget;
    uint64_t interval_ms; /* 0: somebody stopped it */
    bool interval_chosen; /* not the default */
    unsigned asked;       /* of this round, not answered yet */
};

/* Of a VM. */
struct vm_balloon {
    struct balloon_guest guest;
    struct hypervisor_memory sample; /* the newest one */
    uint64_t sampled_ms;             /* when; 0: never */
    struct vmt_list waiters;         /* of struct balloon_waiter: GetBalloonInfo */
    unsigned nwaiters;
    bool asked;        /* an answer is on its way, or will never come */
    bool in_round;     /* and this round waits for it */
    bool fresh;        /* it came in this round */
    bool setting;      /* so is one to balloon_set */
    unsigned failures; /* answers without memory, in a row */
    unsigned pass;     /* rounds in which it is not asked, because of them */
};

void balloons_init(struct concierge *c);
/* Before the VMs go. */
void balloons_done(struct concierge *c);
void vm_balloon_init(struct concierge_vm *vm);
/* Who waits is told no. */
void vm_balloon_done(struct concierge_vm *vm);
/* vm runs from now on: look after it, and after all others for as long as one runs. */
void balloons_watch(struct concierge_vm *vm);

/* Look that often from now on, within the bounds above; 0: not any more. Returns false,
 * and changes nothing, when no VM runs. */
bool balloons_set_interval(struct concierge *c, uint64_t interval_ms);

/* Tell all who wait for the memory of vm: the newest sample, or why there is none. */
void vm_balloon_answer(struct concierge_vm *vm,
                       const char *failure); /* handlers_memory.c */

/* Ask a VM for its memory, unless an answer is already on its way. Returns 0 or -errno.
 */
int vm_balloon_ask(struct concierge_vm *vm);
