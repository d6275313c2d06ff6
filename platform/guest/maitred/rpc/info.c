/* SPDX-License-Identifier: BSD-3-Clause */
/* What the host asks for: kernel version, boot report, free space. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <vm_guest.pb-c.h>
#include <vmt_agent.pb-c.h>

#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/rpc/handlers.h"

/* Source: platform2 vm_tools/maitred/service_impl.cc, kStatefulMount. */
#define STATEFUL_DIR "/mnt/stateful"

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
    reply.ready_acknowledged = agent->is_init && !agent->ready;
    rpc_server_call_reply(call, &reply.base);
}

/* Without a stateful file system the root would be measured, which says nothing. */
void
handle_get_available_space(void *ctx, struct rpc_server_call *call,
                           const ProtobufCMessage *request)
{
    VmTools__GetAvailableSpaceResponse reply =
        VM_TOOLS__GET_AVAILABLE_SPACE_RESPONSE__INIT;
    struct stat own, above;
    struct statvfs space;

    (void)ctx;
    (void)request;
    if (stat(STATEFUL_DIR, &own) < 0 || stat(STATEFUL_DIR "/..", &above) < 0 ||
        own.st_dev == above.st_dev) {
        rpc_server_call_fail(call, RPC_FAILED_PRECONDITION,
                             "nothing is mounted at " STATEFUL_DIR);
        return;
    }
    if (statvfs(STATEFUL_DIR, &space) < 0) {
        rpc_server_call_fail(call, RPC_INTERNAL, "space of " STATEFUL_DIR ": %s",
                             strerror(errno));
        return;
    }
    reply.available_space = (uint64_t)space.f_bavail * space.f_frsize;
    rpc_server_call_reply(call, &reply.base);
}
