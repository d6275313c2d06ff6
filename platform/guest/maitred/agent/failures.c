/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/failures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vm_crash.pb-c.h>

#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/host_call.h"

#define REPORT_TIMEOUT_MS 2000

struct failures {
    struct vmt_clock *clock;          /* borrowed */
    struct transport *transport;      /* borrowed */
    struct host_call *call;           /* owned; NULL when none is on its way */
    char *queue[FAILURES_QUEUED_MAX]; /* owned; the first is on its way */
    size_t n;
    VmTools__Cicerone__FailureReport message;
};

static void send_next(struct failures *f);

static void
drop_first(struct failures *f)
{
    free(f->queue[0]);
    f->n--;
    memmove(f->queue, f->queue + 1, f->n * sizeof(f->queue[0]));
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct failures *f = arg;

    f->call = NULL;
    if (status->code != RPC_OK)
        vmt_log_debug("failure of %s was not reported: %s", f->queue[0], status->text);
    drop_first(f);
    send_next(f);
}

static void
send_next(struct failures *f)
{
    const struct host_call_spec spec = {
        .clock = f->clock,
        .transport = f->transport,
        .port = VMT_PORT_CRASH_LISTENER,
        .path = "/vm_tools.cicerone.CrashListener/SendFailureReport",
        .message = &f->message.base,
        .timeout_ms = REPORT_TIMEOUT_MS,
        .on_done = on_done,
        .arg = f,
    };
    struct vmt_err err;

    while (f->n > 0) {
        f->message.failed_process = f->queue[0];
        if (host_call_start(&spec, &f->call, &err) == 0)
            return;
        vmt_log_debug("failure of %s was not reported: %s", f->queue[0], err.msg);
        drop_first(f);
    }
}

int
failures_new(struct vmt_clock *clock, struct transport *transport,
             struct failures **ret_failures)
{
    struct failures *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->clock = clock;
    f->transport = transport;
    vm_tools__cicerone__failure_report__init(&f->message);
    *ret_failures = f;
    return 0;
}

void
failures_free(struct failures *f)
{
    if (!f)
        return;
    host_call_cancel(f->call);
    while (f->n > 0)
        drop_first(f);
    free(f);
}

void
failures_report(struct failures *f, const char *program)
{
    const char *base = strrchr(program, '/');
    char *copy;

    if (!f || f->n == FAILURES_QUEUED_MAX)
        return;
    copy = strdup(base ? base + 1 : program);
    if (!copy)
        return;
    f->queue[f->n++] = copy;
    if (f->n == 1)
        send_next(f);
}
