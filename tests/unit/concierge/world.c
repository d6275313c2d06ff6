/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/concierge/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/spawn.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/concierge/service.h"
#include "core/disk/op.h"
#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define STEP_MS 100

static int
count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n;
}

static size_t
companions_left(const struct world *w)
{
    size_t n = fake_spawn_running(w->spawn);

    for (size_t i = 0; i < w->workers.n; i++)
        n -= fake_spawn_last_signal(w->spawn, w->workers.v[i].pid) >= 0;
    return n;
}

static void
note(struct world *w, const char *name, const ProtobufCMessage *m)
{
    size_t at = strlen(w->journal), cap = sizeof(w->journal) - at;
    char *end = w->journal + at;

    w->starting_ups += strcmp(name, "VmStartingUpSignal") == 0;
    w->stoppeds += strcmp(name, "VmStoppedSignal") == 0;
    if (w->on_signal)
        w->on_signal(w, name, m);
    if (strcmp(name, "VmStartingUpSignal") == 0) {
        const VmTools__Concierge__VmStartingUpSignal *s = (const void *)m;

        (void)snprintf(end, cap, "VmStartingUp %s %d\n", s->name, (int)s->cid);
    } else if (strcmp(name, "VmStartedSignal") == 0) {
        const VmTools__Concierge__VmStartedSignal *s = (const void *)m;

        assert_string_equal(s->vm_info->permission_token, "");
        (void)snprintf(end, cap, "VmStarted %s %d status %d\n", s->name,
                       (int)s->vm_info->cid, (int)s->status);
    } else if (strcmp(name, "VmStoppingSignal") == 0) {
        const VmTools__Concierge__VmStoppingSignal *s = (const void *)m;

        (void)snprintf(end, cap, "VmStopping %s %d\n", s->name, (int)s->cid);
    } else if (strcmp(name, "VmStoppedSignal") == 0) {
        const VmTools__Concierge__VmStoppedSignal *s = (const void *)m;

        (void)snprintf(end, cap, "VmStopped %s %d reason %d left %zu\n", s->name,
                       (int)s->cid, (int)s->reason,
                       fake_host_dirs(w->host) + fake_hypervisor_count(w->hv) +
                           companions_left(w));
    } else if (strcmp(name, "DiskImageProgress") == 0) {
        const VmTools__Concierge__DiskImageStatusResponse *s = (const void *)m;

        assert_string_equal(s->owner_id, WORLD_OWNER);
        (void)snprintf(end, cap, "DiskImageProgress status %d progress %u\n",
                       (int)s->status, s->progress);
    } else {
        (void)snprintf(end, cap, "%s\n", name);
    }
}

static void
server_emit(struct ipc_server *server, const struct ipc_signal *signal,
            const uint8_t *bytes, size_t len)
{
    struct world *w = VMT_CONTAINER_OF(server, struct world, server);
    ProtobufCMessage *m = protobuf_c_message_unpack(signal->message, NULL, len, bytes);

    assert_non_null(m);
    note(w, signal->name, m);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void
server_free(struct ipc_server *server)
{
    (void)server;
}

static const struct ipc_server_ops server_ops = {
    .name = "world", .emit = server_emit, .free = server_free};

static void
note_sync(struct world *w, int32_t pid)
{
    for (size_t i = 0; i < WORLD_SYNCS_MAX; i++)
        if (w->syncs[i] == 0) {
            w->syncs[i] = pid;
            return;
        }
    fail_msg("too many processes write states to the disk");
}

static int
on_spawn(void *arg, const struct spawn_spec *spec, int32_t pid)
{
    static const char dir[] = "--uds-dir=";
    const struct spawn_id id = {pid, (uint64_t)pid * 10}; /* as fake_spawn gives them */
    struct world *w = arg;

    if (spec->call) {
        bool runs = w->helpers_run;

        if (spec->nfds > 0) /* it opens files for us */
            runs = w->files_opened = !w->files_silent;
        else
            w->helper = pid;
        return runs ? fake_spawn_exit(w->spawn, pid, SPAWN_EXIT_CODE,
                                      spec->call(spec->call_arg))
                    : 0;
    }
    if (strcmp(spec->argv[0], "sync") == 0) {
        note_sync(w, pid);
        return 0;
    }
    if (strcmp(spec->argv[0], "vm_disk") == 0)
        return workers_on_spawn(w, spec, pid);
    assert_string_equal(spec->argv[0], "vm_vsock");
    if (w->companion_missing)
        return -ENOENT;
    assert_memory_equal(spec->argv[4], dir, sizeof(dir) - 1);
    fake_host_add_user(w->host, spec->argv[4] + sizeof(dir) - 1, &id);
    assert_true(spec->new_session);
    assert_true(w->ncompanions < WORLD_COMPANIONS_MAX);
    w->companions[w->ncompanions++] = pid;
    return 0;
}

static void
on_idle(void *arg)
{
    ((struct world *)arg)->idles++;
}

static void
quiet(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    if (getenv("VMT_TEST_LOG"))
        (void)fprintf(stderr, "%s\n", line);
}

void
world_start_daemon(struct world *w)
{
    const struct concierge_config config = {
        .clock = fake_clock_base(w->clock),
        .transport = w->transport,
        .spawn = w->spawn,
        .host = w->host,
        .hypervisor = w->hv,
        .shutdown_limit_ms = w->shutdown_limit_ms,
        .require_mitigations = w->require_mitigations,
        .watch = &w->watch.watch,
        .sleep = &w->watch.sleep,
        .net = w->host_net,
        .network = w->network,
        .vm_vsock = "vm_vsock",
        .vm_disk = "vm_disk",
        .console_dir = "/state/console",
        .template_count = w->template_count,
        .template_bytes = w->template_bytes,
        .snapshot_count = WORLD_SNAPSHOTS,
        .snapshot_bytes = w->snapshot_bytes,
        .on_idle = on_idle,
        .arg = w,
    };
    const struct ipc_identity self = {.uid = WORLD_UID};

    assert_int_equal(concierge_new(&config, &w->c, NULL), 0);
    assert_int_equal(ipc_new(&concierge_service, w->c, &self, &w->ipc, NULL), 0);
    w->server.ops = &server_ops;
    assert_int_equal(ipc_add_server(w->ipc, &w->server, NULL), 0);
    concierge_set_ipc(w->c, w->ipc);
    concierge_adopt(w->c);
}

void
world_kill_daemon(struct world *w)
{
    ipc_free(vmt_take_ptr(&w->ipc));
    concierge_free(vmt_take_ptr(&w->c));
}

void
world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->snapshot_bytes = 1 << 20;
    vmt_log_init("test", quiet, NULL);
    vmt_log_set_level(VMT_LOG_DEBUG);
    w->fds_before = count_fds();
    w->clock = fake_clock_new();
    w->net = fake_net_new(fake_clock_base(w->clock));
    assert_int_equal(fake_net_transport(w->net, VMT_CID_HOST, &w->transport), 0);
    w->spawn = fake_spawn_new(fake_clock_base(w->clock));
    fake_spawn_on_start(w->spawn, on_spawn, w);
    w->host = fake_host_new();
    fake_watch_init(&w->watch);
    assert_int_equal(fake_hypervisor_new(fake_clock_base(w->clock), 0, &w->hv), 0);
    world_start_daemon(w);
}

void
world_done(struct world *w)
{
    assert_int_equal(concierge_vm_count(w->c), 0);
    assert_int_equal(concierge_disk_operations(w->c), 0);
    if (fake_host_records(w->host) > 1) /* ends that nobody asked for are forgotten */
        fake_clock_advance(w->clock, DISK_OP_KEEP_MS);
    world_kill_daemon(w);
    world_run(w, 60000); /* what is closed may still be under way */
    assert_int_equal(fake_hypervisor_count(w->hv), 0);
    assert_int_equal(fake_spawn_running(w->spawn), 0);
    assert_int_equal(fake_host_dirs(w->host), 0);
    assert_int_equal(fake_states_open(w->host), 0);
    assert_int_equal(fake_host_groups(w->host), 0);
    assert_true(fake_host_records(w->host) <= 2); /* the daemon's own, and the ends */
    assert_int_equal(fake_clock_pending(w->clock), 0);
    w->hv->ops->free(w->hv);
    w->transport->ops->free(w->transport);
    fake_net_free(w->net);
    fake_spawn_free(w->spawn);
    fake_host_free(w->host);
    fake_clock_free(w->clock);
    assert_int_equal(count_fds(), w->fds_before);
}

static void
companions_obey(struct world *w)
{
    for (size_t i = 0; i < w->ncompanions && !w->companions_hang; i++)
        if (fake_spawn_last_signal(w->spawn, w->companions[i]) == SIGTERM)
            (void)fake_spawn_exit(w->spawn, w->companions[i], SPAWN_EXIT_CODE, 0);
    for (size_t i = 0; i < WORLD_SYNCS_MAX && !w->sync_hangs; i++) {
        if (w->syncs[i])
            (void)fake_spawn_exit(w->spawn, w->syncs[i], SPAWN_EXIT_CODE, w->sync_fails);
        w->syncs[i] = 0;
    }
}

void
world_run(struct world *w, uint64_t ms)
{
    do {
        uint64_t step = ms < STEP_MS ? ms : STEP_MS;

        fake_clock_advance(w->clock, step);
        companions_obey(w);
        workers_work(w);
        fake_clock_advance(w->clock, 0);
        ms -= step;
    } while (ms > 0);
}

void
world_expect_signals(struct world *w, const char *expected)
{
    assert_string_equal(w->journal, expected);
    w->journal[0] = '\0';
}

static void
on_reply(void *token, const uint8_t *bytes, size_t len, const int *fds, size_t nfds)
{
    struct client_call *call = token;

    (void)fds;
    (void)nfds;
    call->answers++;
    if (!call->type)
        return;
    call->reply = protobuf_c_message_unpack(call->type, NULL, len, bytes);
    assert_non_null(call->reply);
}

static void
on_fail(void *token, enum ipc_error code, const char *text)
{
    struct client_call *call = token;

    call->answers++;
    call->failed = true;
    call->code = code;
    (void)snprintf(call->text, sizeof(call->text), "%s", text);
}

static const struct ipc_answer_ops answer_ops = {.reply = on_reply, .fail = on_fail};

void
client_call(struct world *w, const char *method, uint32_t uid,
            const ProtobufCMessage *request, const int *fds, size_t nfds,
            struct client_call *call)
{
    struct ipc_incoming in = {.fds = fds, .nfds = nfds, .token = call};
    uint8_t bytes[8192];

    memset(call, 0, sizeof(*call));
    in.method = ipc_find_method(w->ipc, method);
    assert_non_null(in.method);
    call->type = in.method->reply;
    in.caller.uid = uid;
    if (request) {
        in.len = protobuf_c_message_get_packed_size(request);
        assert_true(in.len <= sizeof(bytes));
        (void)protobuf_c_message_pack(request, bytes);
        in.bytes = bytes;
    }
    w->files_opened = false;
    ipc_dispatch(w->ipc, &in, &answer_ops);
    if (w->files_opened)
        fake_clock_advance(w->clock, 0);
}

void
client_call_done(struct client_call *call)
{
    if (call->reply)
        protobuf_c_message_free_unpacked(call->reply, NULL);
    memset(call, 0, sizeof(*call));
}

static void
add_fd(struct start_args *args, VmTools__Concierge__StartVmRequest__FdType kind,
       int flags)
{
    args->fds[args->nfds] = open("/dev/null", flags | O_CLOEXEC);
    assert_true(args->fds[args->nfds] >= 0);
    args->kinds[args->nfds++] = kind;
    args->request.fds = args->kinds;
    args->request.n_fds = args->nfds;
}

void
start_args_init(struct start_args *args, const char *name)
{
    memset(args, 0, sizeof(*args));
    vm_tools__concierge__start_vm_request__init(&args->request);
    args->request.name = (char *)(uintptr_t)name;
    args->request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    args->request.diskless = true;
    args->request.memory_mib = 256;
    args->request.cpus = 1;
    args->request.accel = (char *)(uintptr_t) "tcg";
    add_fd(args, VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__KERNEL, O_RDONLY);
    add_fd(args, VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__ROOTFS, O_RDWR);
}

/* For arguments that were never sent. */
void
start_args_done(struct start_args *args)
{
    for (size_t i = 0; i < args->nfds; i++)
        vmt_closep(&args->fds[i]);
}

void
client_start(struct world *w, struct start_args *args, struct client_call *call)
{
    client_call(w, "StartVm", WORLD_UID, &args->request.base, args->fds, args->nfds,
                call);
}

void
client_start_name(struct world *w, const char *name, struct client_call *call)
{
    struct start_args args;

    start_args_init(&args, name);
    client_start(w, &args, call);
}

void
client_stop(struct world *w, const char *name, struct client_call *call)
{
    VmTools__Concierge__StopVmRequest request;

    vm_tools__concierge__stop_vm_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "StopVm", WORLD_UID, &request.base, NULL, 0, call);
}

const VmTools__Concierge__StartVmResponse *
start_reply(const struct client_call *call)
{
    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return (const VmTools__Concierge__StartVmResponse *)call->reply;
}

const VmTools__Concierge__SuccessFailureResponse *
stop_reply(const struct client_call *call)
{
    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return (const VmTools__Concierge__SuccessFailureResponse *)call->reply;
}

void
expect_start_refused(const struct client_call *call, const char *words)
{
    const VmTools__Concierge__StartVmResponse *r = start_reply(call);

    assert_false(r->success);
    assert_int_equal(r->status, VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_FAILURE);
    if (!strstr(r->failure_reason, words))
        fail_msg("\"%s\" does not say \"%s\"", r->failure_reason, words);
}

int
client_status(struct world *w, const char *name)
{
    VmTools__Concierge__GetVmInfoRequest request;
    const VmTools__Concierge__GetVmInfoResponse *reply;
    struct client_call call;
    int status = -1;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    reply = (const VmTools__Concierge__GetVmInfoResponse *)call.reply;
    if (reply->success)
        status = (int)reply->vm_info->status;
    client_call_done(&call);
    return status;
}

struct guest *
world_run_vm(struct world *w, const char *name)
{
    struct client_call call;
    struct fake_process *process;
    struct guest *g;

    client_start_name(w, name, &call);
    world_run(w, 100);
    process = fake_hypervisor_find(w->hv, name);
    assert_non_null(process);
    g = guest_new(w, fake_process_start(process)->cid);
    guest_power_off_on_shutdown(g, name);
    world_become_ready(w, g);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    return g;
}

void
world_become_ready(struct world *w, struct guest *g)
{
    struct rpc_status status;
    int answers;

    guest_call_ready(g, &status, &answers);
    world_run(w, 1000);
    assert_int_equal(answers, 1);
    assert_int_equal(status.code, RPC_OK);
}

void
world_stop_vm(struct world *w, const char *name, struct guest *g)
{
    struct client_call call;

    client_stop(w, name, &call);
    world_run(w, 3000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    if (g)
        guest_free(g);
}
