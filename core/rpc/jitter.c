/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/jitter_internal.h"

#include "core/adapter/clock.h"

/* splitmix64 of Sebastiano Vigna. */
static uint64_t
jitter_next(uint64_t *random)
{
    uint64_t z = *random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t
rpc_jitter_seed(struct vmt_clock *clock, const void *owner)
{
    return clock->ops->now_us(clock) ^ (uint64_t)(uintptr_t)owner;
}

uint64_t
rpc_jitter(uint64_t *random, uint64_t ms, uint32_t percent)
{
    uint64_t spread = ms * percent / 100;

    return ms - spread + jitter_next(random) % (2 * spread + 1);
}
