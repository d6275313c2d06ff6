/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/look.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/rpc/server.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/stateful.h"

static int
take_space(const char *path, struct look_found *found, struct vmt_err *err)
{
    struct statvfs space;

    if (statvfs(path, &space) < 0)
        return vmt_err_set(err, errno, "space of %s", path);
    found->total = (uint64_t)space.f_blocks * space.f_frsize;
    found->available = (uint64_t)space.f_bavail * space.f_frsize;
    return 0;
}

int
look_at_size(void *arg, struct vmt_err *err)
{
    struct look *look = arg;
    int r = filesystem_find(look->serial, &look->found.fs, err);

    return r < 0 ? r
                 : filesystem_size(&look->found.fs, &look->found.size, &look->found.min,
                                   err);
}

/* A file system that cannot be resized still has its space. */
int
look_at_space(void *arg, struct vmt_err *err)
{
    struct look *look = arg;
    struct look_found *found = &look->found;
    int r = filesystem_find(look->serial, &found->fs, err);

    if (r == 0)
        r = take_space(found->fs.target, found, err);
    if (r < 0)
        return r;
    if (filesystem_size(&found->fs, &found->size, &found->min, NULL) < 0)
        found->size = found->total;
    return 0;
}

/* Without a stateful file system the root would be measured, which says nothing. */
int
look_at_stateful_space(void *arg, struct vmt_err *err)
{
    struct look *look = arg;
    struct stat own, above;

    if (stat(STATEFUL_DIR, &own) < 0 || stat(STATEFUL_DIR "/..", &above) < 0 ||
        own.st_dev == above.st_dev)
        return vmt_err_setx(err, ENODEV, "nothing is mounted at " STATEFUL_DIR);
    return take_space(STATEFUL_DIR, &look->found, err);
}

int
look_start(struct agent *agent, struct rpc_server_call *call, const struct look *question,
           worker_fn *fn, worker_done_fn *on_done)
{
    VMT_CLEANUP(vmt_freep) struct look *look = malloc(sizeof(*look));
    struct worker_spec spec = {
        .fn = fn,
        .fn_arg = look,
        .timeout_ms = LOOK_TIMEOUT_MS,
        .on_done = on_done,
        .arg = look,
    };
    struct vmt_err err;
    int r;

    if (!look) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no memory");
        return -ENOMEM;
    }
    *look = *question;
    look->agent = agent;
    look->call = call;
    spec.result = &look->found;
    spec.result_bytes = sizeof(look->found);
    r = worker_start(&agent->procs, &spec, &err);
    if (r < 0) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err.msg);
        return r;
    }
    (void)vmt_take_ptr(&look); /* on_done frees it */
    return 0;
}

void
look_fail(struct rpc_server_call *call, int status, const struct vmt_err *err)
{
    enum rpc_code code = RPC_INTERNAL;

    if (status == -ENODEV || status == -ENOTSUP)
        code = RPC_FAILED_PRECONDITION;
    else if (status == -ETIMEDOUT)
        code = RPC_DEADLINE_EXCEEDED;
    rpc_server_call_fail(call, code, "%s", vmt_err_text(err));
}
