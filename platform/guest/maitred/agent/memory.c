/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/memory.h"

#include <vmt_agent.pb-c.h>

#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/events.h"
#include "platform/guest/maitred/agent/memory_watch.h"
#include "platform/guest/maitred/proc/group.h"

static void
on_killed(void *arg, const char *group, uint64_t killed)
{
    struct agent *agent = arg;
    Vmt__OutOfMemory oom = VMT__OUT_OF_MEMORY__INIT;
    Vmt__GuestEvent event = VMT__GUEST_EVENT__INIT;

    vmt_log_error("out of memory: the kernel killed %llu processes in %s",
                  (unsigned long long)killed, *group ? group : "no group of ours");
    oom.group = (char *)(uintptr_t)group;
    oom.killed = killed;
    event.event_case = VMT__GUEST_EVENT__EVENT_OUT_OF_MEMORY;
    event.out_of_memory = &oom;
    events_report(agent->events, &event);
}

static void
on_pressure(void *arg, unsigned some, unsigned full)
{
    struct agent *agent = arg;
    Vmt__MemoryPressure pressure = VMT__MEMORY_PRESSURE__INIT;
    Vmt__GuestEvent event = VMT__GUEST_EVENT__INIT;

    vmt_log_notice("programs wait for memory: %u.%u %% of the time", some / 10,
                   some % 10);
    pressure.some_permille = some;
    pressure.full_permille = full;
    event.event_case = VMT__GUEST_EVENT__EVENT_MEMORY_PRESSURE;
    event.memory_pressure = &pressure;
    events_report(agent->events, &event);
}

void
memory_start(struct agent *agent)
{
    const struct memory_watch_config config = {
        .loop = agent->loop,
        .procs = &agent->procs,
        .on_killed = on_killed,
        .on_pressure = on_pressure,
        .arg = agent,
    };
    struct vmt_err err;

    if (!agent->is_init || agent->memory)
        return;
    if (agent->procs.cgroups >= 0)
        group_enable(agent->procs.cgroups);
    if (memory_watch_new(&config, &agent->memory, &err) < 0)
        report_degraded(&agent->boot.report, "%s", err.msg);
}
