/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/spin_internal.h - when a loop looks again instead of falling asleep.
 *
 * Two processes that take turns (a call, its answer, the next call) pay for waking each
 * other's core each time, more than for all else. A loop whose events have come in quick
 * succession therefore polls for a moment before it sleeps, as KVM's halt polling and the
 * haltpoll governor do. It stops with the first moment in vain, and begins the later
 * again the less the last try has paid: where the peer needs the very core that we hold,
 * one try in thousands of events is all it costs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* An answer over loopback takes 30 to 60 microseconds on a virtual machine; waking a core
 * that halts costs that much again. Half of what the haltpoll governor takes. */
#define OS_SPIN_NS 100000u

/* Pauses below OS_SPIN_NS in a row before a loop polls. */
#define OS_SPIN_NEED_MIN 16u
#define OS_SPIN_NEED_MAX 4096u
/* Events that a try must catch to count as paid. */
#define OS_SPIN_PAID 64u

struct os_spin {
    unsigned need;  /* short pauses before the next try */
    unsigned quick; /* short pauses in a row */
    unsigned caught;
    bool never; /* one core: nobody could do anything meanwhile */
};

/* cores: processors online. */
void os_spin_init(struct os_spin *spin, long cores);
/* Is this a time to poll? */
bool os_spin_wants(const struct os_spin *spin);
/* Something came after a pause of so long, asleep or polling. */
void os_spin_event(struct os_spin *spin, uint64_t pause_ns);
/* Nothing came within OS_SPIN_NS of polling. */
void os_spin_in_vain(struct os_spin *spin);
