/* SPDX-License-Identifier: BSD-3-Clause */
/* StartTermina: all that containers need, in the order of the original. A worker makes
 * and mounts the file system and looks for the programs; they are started here. Source:
 * platform2 vm_tools/maitred/service_impl.cc, StartTermina; spec/maitred.md 9. */
#include "platform/guest/maitred/rpc/termina.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/guest/maitred/init/mounts.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/netlink.h"

/* The host waits 150 s. */
#define TERMINA_TIMEOUT_MS 140000u
#define COLLECTOR "/sbin/crash_reporter"
#define LXCFS_DIR "/var/lib/lxcfs"
#define BRIDGE "lxdbr0"
#define PREFIX_MIN 8u
#define PREFIX_MAX 30u

bool
termina_subnet_is_valid(const char *text)
{
    const char *slash = strchr(text, '/');
    char address[INET_ADDRSTRLEN];
    struct in_addr in;
    uint64_t bits;

    if (!slash || slash == text || (size_t)(slash - text) >= sizeof(address) ||
        strlen(text) >= TERMINA_SUBNET_MAX)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    return inet_pton(AF_INET, address, &in) == 1 &&
           vmt_parse_u64(slash + 1, PREFIX_MAX, &bits) == 0 && bits >= PREFIX_MIN;
}

static bool
has_program(const char *name)
{
    static const char *const dirs[] = {"/usr/bin", "/usr/sbin", "/bin", "/sbin"};
    char path[64];

    for (size_t i = 0; i < VMT_ARRAY_SIZE(dirs); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dirs[i], name);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

/* Containers reach the network through us. A host that forwards takes router
 * advertisements only when told to, so that comes first. A kernel without IPv6 has no
 * such files. */
static void
forward_packets(char interface[NETLINK_NAME_MAX])
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char path[80];

    if (netlink_open(&fd, NULL) < 0 || netlink_find_ethernet(fd, interface, NULL) < 0)
        interface[0] = '\0';
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", interface);
    if (interface[0])
        (void)file_write(path, "2");
    (void)file_write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    if (file_write("/proc/sys/net/ipv4/ip_forward", "1") < 0)
        vmt_log_warning("containers have no network: ip_forward cannot be set");
}

/* A worker_fn. */
static int
do_prepare(void *arg, struct vmt_err *err)
{
    static const char *const needed[] = {"lxcfs", "tremplin"};
    struct termina *t = arg;
    int r;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(needed); i++)
        if (!has_program(needed[i]))
            return vmt_err_setx(
                err, ENODEV, "this guest has no container tools: %s is not in its PATH",
                needed[i]);
    r = stateful_mount(t->device, &t->prepared.stateful, err);
    if (r < 0 || t->prepared.stateful.outcome == STATEFUL_FAILED)
        return r;
    t->prepared.has_collector = access(COLLECTOR, X_OK) == 0;
    t->prepared.has_ndproxyd = has_program("ndproxyd");
    t->prepared.has_mcastd = has_program("mcastd");
    if (!modules_fs_known("fuse"))
        (void)modules_load_from_root("fuse", NULL); /* lxcfs says what is wrong */
    forward_packets(t->prepared.interface);
    return mounts_mkdir_p(LXCFS_DIR, 0755, err);
}

static void on_lxcfs(void *arg, int r, const struct vmt_err *err);

/* A program that is started again whenever it ends; all but lxcfs work with LXD's files.
 */
static int
keep_up(struct agent *agent, char *const *argv, proc_start_fn *on_start,
        struct vmt_err *err)
{
    char dir[] = "LXD_DIR=" STATEFUL_DIR "/lxd",
         conf[] = "LXD_CONF=" STATEFUL_DIR "/lxd_conf";
    char only[] = "LXD_UNPRIVILEGED_ONLY=true";
    char *const env[] = {dir, conf, agent->termina.unprivileged_only ? only : NULL, NULL};
    const struct proc_spec spec = {.argv = argv,
                                   .env = on_start == on_lxcfs ? NULL : env,
                                   .respawn = true,
                                   .use_console = true,
                                   .on_start = on_start,
                                   .arg = agent};

    return proc_start(&agent->procs, &spec, NULL, err);
}

/* Neighbours and multicast between host and containers: it works without, less well. */
static void
start_proxy(struct agent *agent, const char *name, bool is_there)
{
    struct termina_prepared *p = &agent->termina.prepared;
    char program[16], bridge[] = BRIDGE;
    char *const argv[] = {program, p->interface, bridge, NULL};
    struct vmt_err err;

    (void)snprintf(program, sizeof(program), "%s", name);
    if (!is_there || !p->interface[0])
        vmt_log_notice("%s is not started: %s", name,
                       is_there ? "there is no network" : "it is not in the image");
    else if (!proc_table_has(&agent->procs, name) && keep_up(agent, argv, NULL, &err) < 0)
        vmt_log_warning("%s", err.msg);
}

static void
start_collector(struct agent *agent)
{
    char program[] = COLLECTOR, init[] = "--init";
    char *const argv[] = {program, init, NULL};
    const struct proc_spec spec = {.argv = argv, .use_console = true};
    struct vmt_err err;

    if (proc_start(&agent->procs, &spec, NULL, &err) < 0)
        vmt_log_warning("%s", err.msg);
}

static void
reply(struct rpc_server_call *call, const struct stateful *stateful)
{
    static const VmTools__StartTerminaResponse__MountResult results[] = {
        [STATEFUL_MOUNTED] = VM_TOOLS__START_TERMINA_RESPONSE__MOUNT_RESULT__SUCCESS,
        [STATEFUL_OLDER] =
            VM_TOOLS__START_TERMINA_RESPONSE__MOUNT_RESULT__PARTIAL_DATA_LOSS,
        [STATEFUL_FAILED] = VM_TOOLS__START_TERMINA_RESPONSE__MOUNT_RESULT__FAILURE,
    };
    VmTools__StartTerminaResponse message = VM_TOOLS__START_TERMINA_RESPONSE__INIT;

    message.mount_result = results[stateful->outcome];
    message.free_bytes_has_value = stateful->has_free;
    message.free_bytes = (int64_t)(stateful->free_bytes & INT64_MAX);
    message.failure_reason = (char *)(uintptr_t)stateful->why;
    rpc_server_call_reply(call, &message.base);
}

static enum rpc_code
code_of(int status)
{
    if (status == -ENODEV || status == -ENOENT)
        return RPC_FAILED_PRECONDITION;
    if (status == -ESHUTDOWN)
        return RPC_UNAVAILABLE;
    return status == -ETIMEDOUT ? RPC_DEADLINE_EXCEEDED : RPC_INTERNAL;
}

static void
fail(struct agent *agent, int status, const struct vmt_err *err)
{
    struct rpc_server_call *call = vmt_take_ptr(&agent->termina.call);

    vmt_log_error("containers cannot start: %s", vmt_err_text(err));
    rpc_server_call_fail(call, code_of(status), "%s", vmt_err_text(err));
}

/* A proc_start_fn: the last one that has to run. */
static void
on_tremplin(void *arg, int r, const struct vmt_err *err)
{
    struct agent *agent = arg;
    const struct termina_prepared *p = &agent->termina.prepared;

    if (r < 0) {
        fail(agent, r, err);
        return;
    }
    start_proxy(agent, "ndproxyd", p->has_ndproxyd);
    start_proxy(agent, "mcastd", p->has_mcastd);
    reply(vmt_take_ptr(&agent->termina.call), &p->stateful);
}

/* A proc_start_fn. */
static void
on_lxcfs(void *arg, int r, const struct vmt_err *err)
{
    struct agent *agent = arg;
    char program[] = "tremplin", flag[] = "-lxd_subnet";
    char *const argv[] = {program, flag, agent->termina.subnet, NULL};
    struct vmt_err why;

    if (r == 0 && proc_table_has(&agent->procs, program)) {
        on_tremplin(agent, 0, NULL);
        return;
    }
    if (r == 0) {
        r = keep_up(agent, argv, on_tremplin, &why);
        err = &why;
    }
    if (r < 0)
        fail(agent, r, err);
}

static void
start_programs(struct agent *agent)
{
    char program[] = "lxcfs", dir[] = LXCFS_DIR;
    char *const argv[] = {program, dir, NULL};
    struct vmt_err err;
    int r;

    if (agent->termina.prepared.has_collector)
        start_collector(agent);
    if (proc_table_has(&agent->procs, program)) {
        on_lxcfs(agent, 0, NULL);
        return;
    }
    r = keep_up(agent, argv, on_lxcfs, &err);
    if (r < 0)
        fail(agent, r, &err);
}

/* A worker_done_fn. A disk that does not mount is a result of the call, so that it
 * reaches the caller: a status other than OK would drop it. */
static void
on_prepared(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;
    const struct stateful *stateful = &agent->termina.prepared.stateful;

    if (status == 0 && stateful->why[0])
        vmt_log_error("%s", stateful->why);
    if (!agent->resize.in_progress)
        agent->resize.current_size = 0; /* it may have grown: ask again */
    if (status < 0)
        fail(agent, status, err);
    else if (stateful->outcome == STATEFUL_FAILED)
        reply(vmt_take_ptr(&agent->termina.call), stateful);
    else
        start_programs(agent);
}

static int
take_request(struct termina *t, const VmTools__StartTerminaRequest *req,
             struct vmt_err *err)
{
    const char *device =
        req->stateful_device[0] ? req->stateful_device : STATEFUL_DEVICE_DEFAULT;

    if (!vmt_str_has_prefix(device, "/dev/") || strstr(device, "/../") ||
        strlen(device) >= sizeof(t->device))
        return vmt_err_setx(err, EINVAL, "stateful_device is no device below /dev");
    if (!termina_subnet_is_valid(req->lxd_ipv4_subnet))
        return vmt_err_setx(err, EINVAL,
                            "lxd_ipv4_subnet is none like 100.115.92.193/28");
    *t = (struct termina){.unprivileged_only = !req->allow_privileged_containers};
    (void)snprintf(t->device, sizeof(t->device), "%s", device);
    (void)snprintf(t->subnet, sizeof(t->subnet), "%s", req->lxd_ipv4_subnet);
    return 0;
}

/* Containers make control groups of their own beside ours, with every controller that
 * the root hands down: that is one of the late parts of the boot. */
static void
complete_boot(struct boot *boot)
{
    while (boot_late_step(boot))
        ;
}

void
handle_start_termina(void *ctx, struct rpc_server_call *call,
                     const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    struct termina *t = &agent->termina;
    const struct worker_spec spec = {
        .fn = do_prepare,
        .fn_arg = t,
        .timeout_ms = TERMINA_TIMEOUT_MS,
        .on_done = on_prepared,
        .arg = agent,
        .result = &t->prepared,
        .result_bytes = sizeof(t->prepared),
    };
    struct vmt_err err;

    if (t->call)
        rpc_server_call_fail(call, RPC_ABORTED, "another StartTermina is under way");
    else if (!agent->is_init || agent->awaits_identity)
        rpc_server_call_fail(call, RPC_FAILED_PRECONDITION,
                             agent->is_init ? "this guest does not know who it is yet"
                                            : "containers here belong to another init");
    else if (agent->shutdown)
        rpc_server_call_fail(call, RPC_UNAVAILABLE, "the system is going down");
    else if (take_request(t, (const VmTools__StartTerminaRequest *)request, &err) < 0)
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "%s", err.msg);
    else if (worker_start(&agent->procs, &spec, &err) < 0)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err.msg);
    else {
        t->call = call;
        complete_boot(&agent->boot);
    }
}
