/* SPDX-License-Identifier: BSD-3-Clause */
/* What the host asks for: kernel version, boot report. */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include <vm_guest.pb-c.h>
#include <vmt_agent.pb-c.h>

#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/rpc/handlers.h"

void
handle_get_kernel_version(void *ctx, struct rpc_server_call *call,
                          const ProtobufCMessage *request)
{
    VmTools__GetKernelVersionResponse reply = VM_TOOLS__GET_KERNEL_VERSION_RESPONSE__INIT;
    struct utsname uts;

    (void)ctx;
    (void)request;
    if (uname(&uts) < 0) {
        rpc_server_call_fail(call, RPC_INTERNAL, "uname: %s", strerror(errno));
        return;
    }
    reply.kernel_release = uts.release;
    reply.kernel_version = uts.version;
    rpc_server_call_reply(call, &reply.base);
}

void
handle_get_boot_report(void *ctx, struct rpc_server_call *call,
                       const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    struct report *report = &agent->boot.report;
    Vmt__BootReport reply = VMT__BOOT_REPORT__INIT;
    Vmt__BootPhase phases[REPORT_PHASES_MAX], *list[REPORT_PHASES_MAX];
    char *degraded[REPORT_DEGRADED_MAX];

    (void)request;
    for (size_t i = 0; i < report->nphases; i++) {
        phases[i] = (Vmt__BootPhase)VMT__BOOT_PHASE__INIT;
        phases[i].name = strdupa(report->phases[i].name);
        phases[i].at_us = report->phases[i].at_us;
        list[i] = &phases[i];
    }
    reply.phases = list;
    reply.n_phases = report->nphases;
    reply.degraded = degraded;
    for (size_t i = 0; i < report->ndegraded && i < REPORT_DEGRADED_MAX; i++)
        degraded[reply.n_degraded++] = report->degraded[i];
    reply.agent_version = VMT_VERSION;
    reply.ready_acknowledged = agent->was_acked && !agent->ready;
    rpc_server_call_reply(call, &reply.base);
}
