/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/restart.h"

static uint32_t
delay_of(const struct restart_policy *policy, unsigned restarts)
{
    uint64_t delay = policy->delay_ms;

    for (unsigned i = 0; i < restarts && delay < policy->max_delay_ms; i++)
        delay *= 2;
    return delay < policy->max_delay_ms ? (uint32_t)delay : policy->max_delay_ms;
}

/* A reboot that came after a steady life is done at once: somebody waits for it. */
bool
restart_decide(const struct restart_policy *policy, const struct restart_end *end,
               uint32_t *ret_delay_ms, unsigned *ret_restarts)
{
    bool steady = end->uptime_ms >= RESTART_STEADY_MS;
    unsigned restarts = steady ? 0 : end->restarts;

    if (end->asked || policy->mode == RESTART_NEVER)
        return false;
    if (policy->mode == RESTART_ON_FAILURE && !end->failed)
        return false;
    if (policy->max && restarts >= policy->max)
        return false;
    *ret_delay_ms = end->reboot && steady ? 0 : delay_of(policy, restarts);
    *ret_restarts = restarts + 1;
    return true;
}
