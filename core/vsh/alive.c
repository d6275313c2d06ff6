/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/alive.h"

unsigned
vsh_alive_timeout_ms(const struct vsh_alive *alive)
{
    return alive->silence_ms / 3;
}

static enum vsh_alive_step
alive_start_over(struct vsh_alive *alive, unsigned *ret_ms)
{
    alive->failures = 0;
    *ret_ms = alive->silence_ms;
    return VSH_ALIVE_WAIT;
}

enum vsh_alive_step
vsh_alive_tick(struct vsh_alive *alive, bool heard, unsigned *ret_ms)
{
    return heard ? alive_start_over(alive, ret_ms) : VSH_ALIVE_LOOK;
}

enum vsh_alive_step
vsh_alive_looked(struct vsh_alive *alive, bool reached, unsigned *ret_ms)
{
    if (reached)
        return alive_start_over(alive, ret_ms);
    if (++alive->failures >= VSH_ALIVE_FAILURES)
        return VSH_ALIVE_ASK;
    *ret_ms = alive->silence_ms / 4;
    return VSH_ALIVE_WAIT;
}

enum vsh_alive_step
vsh_alive_told(struct vsh_alive *alive, bool suspended, unsigned *ret_ms)
{
    return suspended ? alive_start_over(alive, ret_ms) : VSH_ALIVE_GONE;
}
