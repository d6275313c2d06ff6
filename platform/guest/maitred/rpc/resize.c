/* SPDX-License-Identifier: BSD-3-Clause */
/* ResizeFilesystem, GetResizeStatus, GetResizeBounds, and the space of a disk. The
 * resizing is done by a worker: it may take minutes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include <vm_guest.pb-c.h>
#include <vmt_agent.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/filesystem.h"
#include "platform/guest/maitred/rpc/handlers.h"

#define RESIZE_TIMEOUT_MS (60u * 60 * 1000)

struct resize_order {
    struct filesystem fs;
    uint64_t size;
};

/* A worker_fn. */
static int
do_resize(void *arg, struct vmt_err *err)
{
    const struct resize_order *order = arg;

    return filesystem_resize(&order->fs, order->size, err);
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

static int
start_resize(struct agent *agent, const VmTools__ResizeFilesystemRequest *rq,
             struct vmt_err *err)
{
    struct resize_order order = {.size = rq->size};
    const struct worker_spec spec = {
        .fn = do_resize,
        .fn_arg = &order,
        .timeout_ms = RESIZE_TIMEOUT_MS,
        .on_done = on_resized,
        .arg = agent,
    };
    struct resize *resize = &agent->resize;
    uint64_t min;
    int r = filesystem_find(rq->serial, &order.fs, err);

    if (r == 0)
        r = filesystem_size(&order.fs, &resize->current_size, &min, err);
    if (r == 0)
        r = worker_start(&agent->procs, &spec, err);
    if (r < 0)
        return r;
    resize->in_progress = true;
    resize->target_size = rq->size;
    resize->failure[0] = '\0';
    return 0;
}

static void
fail(struct rpc_server_call *call, int r, const struct vmt_err *err)
{
    rpc_server_call_fail(
        call, r == -ENODEV || r == -ENOTSUP ? RPC_FAILED_PRECONDITION : RPC_INTERNAL,
        "%s", err->msg);
}

void
handle_resize_filesystem(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    VmTools__ResizeFilesystemResponse reply = VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__INIT;
    struct agent *agent = ctx;
    struct vmt_err err;
    int r;

    if (agent->resize.in_progress) {
        reply.status =
            VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__RESIZE_STATUS__ALREADY_IN_PROGRESS;
        rpc_server_call_reply(call, &reply.base);
        return;
    }
    r = start_resize(agent, (const VmTools__ResizeFilesystemRequest *)request, &err);
    if (r < 0) {
        fail(call, r, &err);
        return;
    }
    reply.status = VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__RESIZE_STATUS__STARTED;
    rpc_server_call_reply(call, &reply.base);
}

void
handle_get_resize_status(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    VmTools__GetResizeStatusResponse reply = VM_TOOLS__GET_RESIZE_STATUS_RESPONSE__INIT;
    struct agent *agent = ctx;
    struct filesystem fs;
    uint64_t min;

    (void)request;
    /* Before the first resize: what is there. */
    if (agent->resize.current_size == 0 && filesystem_find("", &fs, NULL) == 0)
        (void)filesystem_size(&fs, &agent->resize.current_size, &min, NULL);
    reply.resize_in_progress = agent->resize.in_progress;
    reply.current_size = agent->resize.current_size;
    reply.target_size = agent->resize.target_size;
    reply.failure_reason = agent->resize.failure;
    rpc_server_call_reply(call, &reply.base);
}

void
handle_get_resize_bounds(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    VmTools__GetResizeBoundsResponse reply = VM_TOOLS__GET_RESIZE_BOUNDS_RESPONSE__INIT;
    struct filesystem fs;
    struct vmt_err err;
    uint64_t size;
    int r = filesystem_find("", &fs, &err);

    (void)ctx;
    (void)request;
    if (r == 0)
        r = filesystem_size(&fs, &size, &reply.minimum_size, &err);
    if (r < 0)
        fail(call, r, &err);
    else
        rpc_server_call_reply(call, &reply.base);
}

/* A file system that cannot be resized still has its space. */
void
handle_get_disk_space(void *ctx, struct rpc_server_call *call,
                      const ProtobufCMessage *request)
{
    const Vmt__DiskSpaceRequest *rq = (const Vmt__DiskSpaceRequest *)request;
    Vmt__DiskSpace reply = VMT__DISK_SPACE__INIT;
    struct filesystem fs;
    struct statvfs space = {.f_bavail = 0};
    struct vmt_err err;
    int r = filesystem_find(rq->serial, &fs, &err);

    (void)ctx;
    if (r == 0 && statvfs(fs.target, &space) < 0)
        r = vmt_err_set(&err, errno, "space of %s", fs.target);
    if (r < 0) {
        fail(call, r, &err);
        return;
    }
    reply.filesystem = fs.type;
    reply.available_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    reply.size_bytes = (uint64_t)space.f_blocks * space.f_frsize;
    (void)filesystem_size(&fs, &reply.size_bytes, &reply.min_bytes, NULL);
    rpc_server_call_reply(call, &reply.base);
}
