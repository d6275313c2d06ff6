/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsh/alive.h - whether a guest from which nothing comes is still there. A stream to
 * one that stands still, or that lost its device, does not end by itself. */
#pragma once

#include <stdbool.h>

/* How long nothing may come before somebody looks. */
#define VSH_ALIVE_SILENCE_MS 30000u
/* Looking is to connect once more: that takes no word of the protocol, so it works with
 * every vshd, and no command that leaves its input unread can hold the answer back. That
 * many in a row must fail: with pauses they take three quarters of the silence at least.
 * They are counted instead of the time, in which we may have been stopped ourselves. */
#define VSH_ALIVE_FAILURES 4u

struct vsh_alive {
    unsigned silence_ms; /* VSH_ALIVE_SILENCE_MS or what the user said; the first tick */
    unsigned failures;   /* in a row; 0 at the start */
};

/* For one connection. */
unsigned vsh_alive_timeout_ms(const struct vsh_alive *alive);

enum vsh_alive_step {
    VSH_ALIVE_WAIT, /* *ret_ms until the next tick */
    VSH_ALIVE_LOOK, /* connect, then say so by vsh_alive_looked */
    VSH_ALIVE_ASK,  /* find out if it is suspended, then say so by vsh_alive_told */
    VSH_ALIVE_GONE,
};

/* heard: something came since the last tick, or nothing was read from the guest. */
enum vsh_alive_step vsh_alive_tick(struct vsh_alive *alive, bool heard, unsigned *ret_ms);
enum vsh_alive_step vsh_alive_looked(struct vsh_alive *alive, bool reached,
                                     unsigned *ret_ms);
enum vsh_alive_step vsh_alive_told(struct vsh_alive *alive, bool suspended,
                                   unsigned *ret_ms);
