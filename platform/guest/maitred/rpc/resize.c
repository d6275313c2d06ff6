/* SPDX-License-Identifier: BSD-3-Clause */
/* ResizeFilesystem, GetResizeStatus, GetResizeBounds. A worker looks at the file system
 * before the answer, another one resizes it: that may take minutes. */
#include <stdio.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/look.h"

#define RESIZE_TIMEOUT_MS (60u * 60 * 1000)

/* A worker_fn. */
static int
do_resize(void *arg, struct vmt_err *err)
{
    const struct look *look = arg;

    return filesystem_resize(&look->found.fs, look->wanted, err);
}

static void
on_resized(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;
    struct resize *resize = &agent->resize;

    resize->in_progress = false;
    if (status < 0) {
        vmt_log_warning("resize failed: %s", vmt_err_text(err));
        (void)snprintf(resize->failure, sizeof(resize->failure), "%s", vmt_err_text(err));
        return;
    }
    resize->current_size = resize->target_size;
    vmt_log_info("resized to %llu bytes", (unsigned long long)resize->current_size);
}

static void
reply_status(struct rpc_server_call *call,
             VmTools__ResizeFilesystemResponse__ResizeStatus status)
{
    VmTools__ResizeFilesystemResponse reply = VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__INIT;

    reply.status = status;
    rpc_server_call_reply(call, &reply.base);
}

/* A worker_done_fn: the file system is known, and the resize begins. */
static void
on_found(void *arg, int status, const struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct look *look = arg;
    struct resize *resize = &look->agent->resize;
    const struct worker_spec spec = {
        .fn = do_resize,
        .fn_arg = look,
        .timeout_ms = RESIZE_TIMEOUT_MS,
        .on_done = on_resized,
        .arg = look->agent,
    };
    struct vmt_err why;

    if (status == 0) {
        status = worker_start(&look->agent->procs, &spec, &why);
        err = &why;
    }
    if (status < 0) {
        resize->in_progress = false;
        look_fail(look->call, status, err);
        return;
    }
    resize->current_size = look->found.size;
    resize->target_size = look->wanted;
    resize->failure[0] = '\0';
    reply_status(look->call,
                 VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__RESIZE_STATUS__STARTED);
}

void
handle_resize_filesystem(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    const VmTools__ResizeFilesystemRequest *rq =
        (const VmTools__ResizeFilesystemRequest *)request;
    struct agent *agent = ctx;
    struct look question = {.wanted = rq->size};

    if (agent->resize.in_progress) {
        reply_status(
            call,
            VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__RESIZE_STATUS__ALREADY_IN_PROGRESS);
        return;
    }
    (void)snprintf(question.serial, sizeof(question.serial), "%s", rq->serial);
    agent->resize.in_progress =
        look_start(agent, call, &question, look_at_size, on_found) == 0;
}

static void
say_status(const struct resize *resize, struct rpc_server_call *call)
{
    VmTools__GetResizeStatusResponse reply = VM_TOOLS__GET_RESIZE_STATUS_RESPONSE__INIT;

    reply.resize_in_progress = resize->in_progress;
    reply.current_size = resize->current_size;
    reply.target_size = resize->target_size;
    reply.failure_reason = (char *)(uintptr_t)resize->failure;
    rpc_server_call_reply(call, &reply.base);
}

/* A worker_done_fn. No disk to resize, or none that answers, has the size 0. */
static void
on_size(void *arg, int status, const struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct look *look = arg;
    struct resize *resize = &look->agent->resize;

    (void)err;
    if (status == 0 && resize->current_size == 0)
        resize->current_size = look->found.size;
    say_status(resize, look->call);
}

void
handle_get_resize_status(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    const struct look question = {.serial = ""};
    struct agent *agent = ctx;

    (void)request;
    if (agent->resize.in_progress || agent->resize.current_size)
        say_status(&agent->resize, call);
    else /* before the first resize: what is there */
        (void)look_start(agent, call, &question, look_at_size, on_size);
}

/* A worker_done_fn. */
static void
on_bounds(void *arg, int status, const struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct look *look = arg;
    VmTools__GetResizeBoundsResponse reply = VM_TOOLS__GET_RESIZE_BOUNDS_RESPONSE__INIT;

    reply.minimum_size = look->found.min;
    if (status < 0)
        look_fail(look->call, status, err);
    else
        rpc_server_call_reply(look->call, &reply.base);
}

void
handle_get_resize_bounds(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    const struct look question = {.serial = ""};

    (void)request;
    (void)look_start(ctx, call, &question, look_at_size, on_bounds);
}
