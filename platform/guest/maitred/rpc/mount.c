/* SPDX-License-Identifier: BSD-3-Clause */
/* Mount, Mount9P. The mounting itself is done by a worker: a dead disk or server must not
 * hold PID 1 up. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>
#include <vmt_net.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/guest/maitred/init/mounts.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/blank.h"
#include "platform/guest/maitred/rpc/filesystem.h"
#include "platform/guest/maitred/rpc/format.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/share.h"

/* The host waits 20 s for these calls. */
#define MOUNT_TIMEOUT_MS 18000
#define MKFS_TIMEOUT_MS 120000 /* a host that lets us format has to wait longer */
#define CONNECT_TIMEOUT_S 5
#define PERMISSIONS_MAX 07777
#define FSTYPE_DEFAULT "btrfs" /* as in the original */
/* What a worker returns when mount(2) failed: that errno is data for the host, while
 * other failures fail the call. */
#define MOUNT_FAILED (-4096)

static int
check_target(const char *target, struct vmt_err *err)
{
    if (target[0] != '/')
        return vmt_err_setx(err, EINVAL, "target is no absolute path");
    return 0;
}

static int
mount_as(const VmTools__MountRequest *req, const char *fstype)
{
    if (mount(req->source, req->target, fstype, req->mountflags,
              req->options[0] ? req->options : NULL) == 0)
        return 0;
    return -errno;
}

/* Format only what is surely empty: the original formats whatever does not mount. */
static int
format_if_blank(const VmTools__MountRequest *req, const char *fstype, struct vmt_err *err)
{
    int r = blank_check(req->source, err);

    if (r < 0)
        return r;
    if (r == 0)
        return vmt_err_setx(err, EINVAL, "%s holds something else than %s and is kept",
                            req->source, fstype);
    return format_make(fstype, req->source, err);
}

/* Mounts that need no type: of something that is mounted already. */
#define TYPELESS (MS_BIND | MS_MOVE | MS_REMOUNT | MS_SHARED | MS_PRIVATE | MS_SLAVE)

/* The type of the request; without one what the disk says, else what an empty disk gets.
 */
static void
choose_type(const VmTools__MountRequest *req, char type[FORMAT_TYPE_MAX])
{
    (void)snprintf(type, FORMAT_TYPE_MAX, "%s", req->fstype);
    if (type[0] || (req->mountflags & TYPELESS) ||
        !vmt_str_has_prefix(req->source, "/dev/"))
        return;
    if (format_probe(req->source, type, NULL) < 0 || !type[0])
        (void)snprintf(type, FORMAT_TYPE_MAX, FSTYPE_DEFAULT);
}

/* A worker_fn. */
static int
do_mount(void *arg, struct vmt_err *err)
{
    const VmTools__MountRequest *req = arg;
    char type[FORMAT_TYPE_MAX];
    int r;

    if (req->create_target) {
        r = mounts_mkdir_p(req->target, 0755, err);
        if (r < 0)
            return r;
    }
    format_await_device(req->source);
    choose_type(req, type);
    if (type[0] && !modules_fs_known(type))
        (void)modules_load_from_root(type, NULL); /* mount says what is wrong */
    r = mount_as(req, type);
    if (r == -EINVAL && req->mkfs_if_needed) {
        r = format_if_blank(req, type, err);
        if (r < 0)
            return r;
        r = mount_as(req, type);
    }
    if (r < 0) {
        (void)vmt_err_set(err, -r, "mount %s on %s", req->source, req->target);
        return MOUNT_FAILED + r;
    }
    if (req->permissions && chmod(req->target, req->permissions & PERMISSIONS_MAX) < 0) {
        r = errno;
        (void)umount2(req->target, UMOUNT_NOFOLLOW);
        return vmt_err_set(err, r, "set permissions of %s", req->target);
    }
    return 0;
}

static void
reply_error(struct rpc_server_call *call, int code)
{
    VmTools__MountResponse reply = VM_TOOLS__MOUNT_RESPONSE__INIT;

    reply.error = code;
    rpc_server_call_reply(call, &reply.base);
}

static void
on_mounted(void *arg, int status, const struct vmt_err *err)
{
    struct rpc_server_call *call = arg;

    if (status < 0)
        vmt_log_warning("Mount failed: %s", vmt_err_text(err));
    if (status == 0)
        reply_error(call, 0);
    else if (status <= MOUNT_FAILED)
        reply_error(call, MOUNT_FAILED - status);
    else
        rpc_server_call_fail(call, RPC_INTERNAL, "%s", vmt_err_text(err));
}

static void
start_worker(struct agent *agent, struct rpc_server_call *call,
             const struct worker_spec *spec)
{
    struct vmt_err err;

    if (agent->shutdown)
        rpc_server_call_fail(call, RPC_UNAVAILABLE, "the system is going down");
    else if (worker_start(&agent->procs, spec, &err) < 0)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err.msg);
}

void
handle_mount(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    VmTools__MountRequest req = *(const VmTools__MountRequest *)request;
    struct worker_spec spec = {
        .fn = do_mount,
        .fn_arg = &req,
        .timeout_ms = req.mkfs_if_needed ? MKFS_TIMEOUT_MS : MOUNT_TIMEOUT_MS,
        .on_done = on_mounted,
        .arg = call,
    };
    struct vmt_err err;

    if (check_target(req.target, &err) < 0) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "%s", err.msg);
        return;
    }
    if (req.fstype[0])
        modules_need_fs(&agent->boot.modules, req.fstype, NULL, &agent->boot.report);
    start_worker(agent, call, &spec);
}

/* A stream to the 9P server of the host. */
static int
connect_host(uint32_t port, int *ret_fd, struct vmt_err *err)
{
    const struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK, .svm_cid = VMT_CID_HOST, .svm_port = port};
    const struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
    VMT_CLEANUP(vmt_closep) int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return vmt_err_set(err, errno, "make a vsock socket");
    (void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout,
                     sizeof(timeout));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return vmt_err_set(err, errno, "connect to 9P server at port %u", port);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

/* A share that is mounted again takes the place of the one before, whose server may be
 * gone; programs that are in it keep what they have. */
static void
detach_share(const char *target)
{
    struct filesystem fs;

    if (filesystem_at(target, &fs) == 0 && strcmp(fs.type, "9p") == 0)
        (void)umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH);
}

static struct share_setup
share_of(const VmTools__Mount9PRequest *req)
{
    const Vmt__ShareOptions *o = req->options;

    if (!o)
        return (struct share_setup){.aname = "", .uname = "", .access = ""};
    return (struct share_setup){
        .aname = o->aname,
        .uname = o->uname,
        .access = o->access,
        .msize = o->msize,
        .uid = o->uid,
        .gid = o->gid,
        .has_uid = o->_uid_case == VMT__SHARE_OPTIONS___UID_UID,
        .has_gid = o->_gid_case == VMT__SHARE_OPTIONS___GID_GID,
    };
}

/* A worker_fn. The mount keeps its own reference to the socket.
 * Source of the options: platform2 vm_tools/maitred/service_impl.cc, Mount9P. */
static int
do_mount_9p(void *arg, struct vmt_err *err)
{
    const VmTools__Mount9PRequest *req = arg;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char options[SHARE_OPTIONS_MAX];
    struct share_setup setup = share_of(req);
    int r = connect_host(req->port, &fd, err);

    if (r == 0)
        r = share_format(&setup, fd, options, err);
    if (r == 0)
        r = mounts_mkdir_p(req->target, 0755, err);
    if (r == 0 && !modules_fs_known("9p"))
        r = modules_load_from_root("9p", err);
    if (r < 0)
        return r;
    detach_share(req->target);
    if (mount("9p", req->target, "9p", MS_NOSUID | MS_NODEV, options) < 0)
        return vmt_err_set(err, errno, "mount 9p on %s", req->target);
    return 0;
}

static void
on_mounted_9p(void *arg, int status, const struct vmt_err *err)
{
    struct rpc_server_call *call = arg;

    if (status == 0) {
        reply_error(call, 0);
        return;
    }
    vmt_log_warning("Mount9P failed: %s", vmt_err_text(err));
    rpc_server_call_fail(call,
                         status == -ETIMEDOUT ? RPC_DEADLINE_EXCEEDED : RPC_INTERNAL,
                         "%s (errno %d)", vmt_err_text(err), -status);
}

void
handle_mount_9p(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    VmTools__Mount9PRequest req = *(const VmTools__Mount9PRequest *)request;
    const struct share_setup setup = share_of(&req);
    char options[SHARE_OPTIONS_MAX];
    const struct worker_spec spec = {
        .fn = do_mount_9p,
        .fn_arg = &req,
        .timeout_ms = MOUNT_TIMEOUT_MS,
        .on_done = on_mounted_9p,
        .arg = call,
    };
    struct vmt_err err;

    if (check_target(req.target, &err) < 0 ||
        share_format(&setup, 0, options, &err) < 0) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "%s", err.msg);
        return;
    }
    modules_need_fs(&agent->boot.modules, "9p", "9pnet_fd", &agent->boot.report);
    start_worker(agent, call, &spec);
}
