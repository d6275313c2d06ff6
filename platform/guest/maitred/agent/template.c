/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/template.h"

#include <stdio.h>

#include "core/adapter/clock.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/link_watch.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/init/file.h"

/* The balloon driver tells the host of free memory two seconds after it was freed: Linux
 * v6.1, mm/page_reporting.c, PAGE_REPORTING_DELAY. Twice, because what was freed
 * meanwhile takes another round. */
#define REPORTING_MS 4500u

static void
announce(void *arg)
{
    struct agent *agent = arg;

    agent->late = NULL;
    report_phase(&agent->boot.report, "template");
    console_say(TEMPLATE_WORDS);
    agent->is_up = true;
    if (link_cid() != LINK_NO_CID)
        agent_tell_ready(agent);
}

void
template_settle(struct agent *agent)
{
    /* Pages and inodes of files that booting read; then free memory in large pieces,
     * because only those are reported. Source: Linux v6.1,
     * Documentation/admin-guide/sysctl/vm.rst. */
    (void)file_write("/proc/sys/vm/drop_caches", "3");
    (void)file_write("/proc/sys/vm/compact_memory", "1");
    if (agent->clock->ops->timer_start(agent->clock, REPORTING_MS, announce, agent,
                                       &agent->late) < 0)
        announce(agent);
}
