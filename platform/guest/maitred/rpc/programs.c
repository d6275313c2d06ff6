/* SPDX-License-Identifier: BSD-3-Clause */
/* ListPrograms and StopProgram. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <vmt_agent.pb-c.h>

#include "core/base/cleanup.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/rpc/handlers.h"

/* Room for all that the table can hold. */
struct list {
    Vmt__Program *programs;
    Vmt__Program **pointers;
    size_t n;
};

static void
add_program(void *arg, struct proc *proc, const struct proc_info *info)
{
    struct list *list = arg;
    Vmt__Program *p = &list->programs[list->n];

    (void)proc;
    vmt__program__init(p);
    p->name = (char *)(uintptr_t)info->name;
    p->group = (char *)(uintptr_t)info->group;
    p->pid = info->pid;
    p->respawn = info->respawn;
    p->starts = info->starts;
    list->pointers[list->n++] = p;
}

void
handle_list_programs(void *ctx, struct rpc_server_call *call,
                     const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    size_t max = agent->procs.n + 1;
    VMT_CLEANUP(vmt_freep) Vmt__Program *programs = calloc(max, sizeof(*programs));
    VMT_CLEANUP(vmt_freep) Vmt__Program **pointers = calloc(max, sizeof(void *));
    struct list list = {.programs = programs, .pointers = pointers};
    Vmt__ListProgramsResponse reply = VMT__LIST_PROGRAMS_RESPONSE__INIT;

    (void)request;
    if (!programs || !pointers) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no memory");
        return;
    }
    proc_table_each(&agent->procs, add_program, &list);
    reply.programs = pointers;
    reply.n_programs = list.n;
    rpc_server_call_reply(call, &reply.base);
}

struct stop {
    const Vmt__StopProgramRequest *request;
    unsigned n;
};

static void
stop_program(void *arg, struct proc *proc, const struct proc_info *info)
{
    struct stop *stop = arg;
    const Vmt__StopProgramRequest *rq = stop->request;

    if ((rq->pid && rq->pid != info->pid) ||
        (*rq->group && strcmp(rq->group, info->group) != 0))
        return;
    stop->n++;
    proc_stop(proc, rq->signal ? rq->signal : SIGTERM, rq->whole_group);
}

void
handle_stop_program(void *ctx, struct rpc_server_call *call,
                    const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    struct stop stop = {.request = (const Vmt__StopProgramRequest *)request};
    Vmt__StopProgramResponse reply = VMT__STOP_PROGRAM_RESPONSE__INIT;

    if (stop.request->pid < 0 || (!stop.request->pid && !*stop.request->group) ||
        stop.request->signal < 0 || stop.request->signal > SIGRTMAX) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT,
                             "give a pid or a group, and a signal that there is");
        return;
    }
    proc_table_each(&agent->procs, stop_program, &stop);
    reply.programs = stop.n;
    if (stop.n == 0)
        rpc_server_call_fail(call, RPC_NOT_FOUND, "no such program was started here");
    else
        rpc_server_call_reply(call, &reply.base);
}
