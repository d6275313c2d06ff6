/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/application.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmt_agent.pb-c.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/application.h"
#include "platform/guest/maitred/agent/events.h"
#include "platform/guest/maitred/agent/host_call.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/rpc/poweroff.h"

/* The host answers when it does not need the machine any more: after the set-up, if that
 * is still under way. A host that does not know the call says so at once. */
#define ANSWER_MS 60000u
/* The host's daemon may just be restarting. */
#define TRY_AGAIN_MS 500u
#define TRIES_MAX 20u

struct application {
    struct agent *agent;     /* borrowed */
    struct host_call *call;  /* owned; NULL between tries */
    struct vmt_timer *timer; /* owned by the clock; NULL during a try */
    unsigned tries;
    char program[256];
    Vmt__ApplicationExit exit;
    Vmt__GuestEvent event;
};

static void try_report(struct application *a);

static void
machine_off(struct agent *agent)
{
    struct vmt_err err;

    if (!agent->is_init)
        poweroff_ask(agent, NULL);
    else if (agent_shut_down(agent, &err) < 0)
        vmt_log_error("%s", err.msg);
}

static void
go_off(struct application *a)
{
    machine_off(a->agent);
}

static void
on_timer(void *arg)
{
    struct application *a = arg;

    a->timer = NULL;
    try_report(a);
}

static void
try_later(struct application *a, const char *why)
{
    struct vmt_clock *clock = a->agent->clock;

    vmt_log_debug("the host did not hear of the end of %s: %s", a->program, why);
    if (a->tries >= TRIES_MAX ||
        clock->ops->timer_start(clock, TRY_AGAIN_MS, on_timer, a, &a->timer) < 0)
        go_off(a);
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct application *a = arg;

    a->call = NULL;
    if (status->code == RPC_UNAVAILABLE)
        try_later(a, status->text);
    else
        go_off(a);
}

static void
try_report(struct application *a)
{
    const struct host_call_spec spec = {
        .clock = a->agent->clock,
        .transport = a->agent->transport,
        .port = a->agent->boot.cmdline.host_port,
        .path = EVENTS_PATH,
        .message = &a->event.base,
        .timeout_ms = ANSWER_MS,
        .on_done = on_done,
        .arg = a,
    };
    struct vmt_err err;

    a->tries++;
    if (!a->agent->transport)
        go_off(a);
    else if (host_call_start(&spec, &a->call, &err) < 0)
        try_later(a, err.msg);
}

void
application_ended(struct agent *agent, const char *program, const struct proc_exit *how)
{
    struct application *a;

    if (agent->application || agent->shutdown)
        return;
    console_say("maitred: %s ended: %s %d", program,
                how->kind == PROC_EXITED ? "status" : "signal", how->code);
    a = agent->application = calloc(1, sizeof(*a));
    if (!a) {
        machine_off(agent);
        return;
    }
    a->agent = agent;
    vmt__application_exit__init(&a->exit);
    vmt__guest_event__init(&a->event);
    (void)vmt_log_escape(a->program, sizeof(a->program), program, strlen(program));
    a->exit.program = a->program;
    if (how->kind == PROC_EXITED)
        a->exit.exit_code = how->code;
    else
        a->exit.signal = how->code;
    a->event.event_case = VMT__GUEST_EVENT__EVENT_APPLICATION_EXIT;
    a->event.application_exit = &a->exit;
    try_report(a);
}

void
application_free(struct application *a)
{
    if (!a)
        return;
    host_call_cancel(a->call);
    a->agent->clock->ops->timer_cancel(a->agent->clock, a->timer);
    free(a);
}
