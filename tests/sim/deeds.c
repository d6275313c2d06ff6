/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/sim/deeds.c - what clients, guests, processes, the host and the daemon itself do.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/concierge/service.h"
#include "core/disk/name.h"
#include "tests/fake/fake_disks.h"
#include "tests/fake/fake_host_net.h"
#include "tests/sim/sim.h"
#include "tests/unit/test.h"
#include "vmt_life.pb-c.h"

/* xorshift64*, Marsaglia 2003. */
unsigned
sim_dice(struct sim *s, unsigned n)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return (unsigned)((s->random * 2685821657736338717ull >> 33) % n);
}

const char *
sim_name(struct sim *s)
{
    static char names[4][16];
    static unsigned turn;
    char *name = names[turn++ % VMT_ARRAY_SIZE(names)];

    (void)snprintf(name, sizeof(names[0]), "vm%u", sim_dice(s, s->names));
    return name;
}

struct sim_call *
sim_call_new(struct sim *s, const char *method)
{
    struct vmt_clock *clock = fake_clock_base(s->w.clock);
    bool start = strcmp(method, "StartVm") == 0 || strcmp(method, "RestoreSnapshot") == 0;
    bool snapshot = strcmp(method, "CreateSnapshot") == 0;
    struct sim_call *call;

    if (s->ncalls == SIM_CALLS_MAX)
        return NULL;
    call = &s->calls[s->ncalls++];
    call->method = method;
    call->deadline_ms = clock->ops->now_ms(clock) + (start      ? SIM_START_LIMIT_MS
                                                     : snapshot ? SIM_SNAPSHOT_LIMIT_MS
                                                                : SIM_CALL_LIMIT_MS);
    s->totals->calls++;
    s->totals->starts += start;
    return call;
}

/* The image of the VM's own name, as its disk. It may be there, busy, or missing. */
static void
add_disk(struct sim *s, struct start_args *args, VmTools__Concierge__DiskImage *disk,
         VmTools__Concierge__DiskImage **list, char path[static 256])
{
    char file[DISK_FILE_MAX];

    disk_file_name(args->request.name, DISK_KIND_RAW, file);
    if (sim_dice(s, 2))
        (void)fake_disks_put(s->w.host, WORLD_OWNER, file, 1u << 30);
    (void)snprintf(path, 256, "/data/vms/" WORLD_OWNER "/%s", file);
    vm_tools__concierge__disk_image__init(disk);
    disk->path = path;
    disk->writable = true;
    *list = disk;
    args->request.diskless = false;
    args->request.disks = list;
    args->request.n_disks = 1;
}

static void
do_resize(struct sim *s)
{
    VmTools__Concierge__ResizeDiskImageRequest rq;
    struct sim_call *call = sim_call_new(s, "ResizeDiskImage");

    if (!call)
        return;
    vm_tools__concierge__resize_disk_image_request__init(&rq);
    rq.cryptohome_id = (char *)(uintptr_t)WORLD_OWNER;
    rq.vm_name = (char *)(uintptr_t)sim_name(s);
    rq.disk_size = (uint64_t)(1 + sim_dice(s, 4)) << 29;
    client_call(&s->w, "ResizeDiskImage", WORLD_UID, &rq.base, NULL, 0, &call->call);
}

/* A guest comes to the end of a resize, with or without success. */
static void
do_file_system(struct sim *s)
{
    struct guest_resize *resize;

    if (s->nguests == 0)
        return;
    resize = guest_resize(s->guests[sim_dice(s, (unsigned)s->nguests)].guest);
    if (resize->in_progress && sim_dice(s, 4))
        resize->current = resize->asked;
    resize->in_progress = false;
}

static void
do_start(struct sim *s)
{
    struct sim_call *call = sim_call_new(s, "StartVm");
    Vmt__RestartPolicy policy = VMT__RESTART_POLICY__INIT;
    VmTools__Concierge__DiskImage disk, *disks[1];
    struct start_args args;
    char path[256];

    if (!call)
        return;
    start_args_init(&args, sim_name(s));
    args.request.timeout = sim_dice(s, 2) ? 0 : 1 + sim_dice(s, 30);
    if (sim_dice(s, 3) == 0)
        args.request.accel = (char *)(uintptr_t) "auto";
    if (sim_dice(s, 4) == 0) {
        policy.mode = (Vmt__RestartPolicy__Mode)sim_dice(s, 3);
        policy.max_restarts = sim_dice(s, 4);
        args.request.restart = &policy;
    }
    if (sim_dice(s, 3) == 0)
        add_disk(s, &args, &disk, disks, path);
    s->w.files_silent = sim_dice(s, 12) == 0; /* a file system that does not answer */
    client_start(&s->w, &args, &call->call);
    s->w.files_silent = false;
}

static void
do_stop(struct sim *s)
{
    struct sim_call *call = sim_call_new(s, "StopVm");

    if (call)
        client_stop(&s->w, sim_name(s), &call->call);
}

static void
do_stop_all(struct sim *s)
{
    struct sim_call *call = sim_call_new(s, "StopAllVms");

    if (call)
        client_call(&s->w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &call->call);
}

static void
do_sync(struct sim *s)
{
    struct sim_call *call = sim_call_new(s, "SyncVmTimes");

    if (call)
        client_call(&s->w, "SyncVmTimes", WORLD_UID, NULL, NULL, 0, &call->call);
}

static struct fake_process *
some_process(struct sim *s)
{
    size_t n = fake_hypervisor_count(s->w.hv);

    return n ? fake_hypervisor_process(s->w.hv, sim_dice(s, (unsigned)n)) : NULL;
}

static void
choose_ways(struct sim *s, struct guest *g)
{
    static const char *const methods[] = {
        "ConfigureNetwork", "SetTime",     "SetTimezone", "Shutdown", "ResizeFilesystem",
        "GetResizeStatus",  "SetIdentity", "Freeze",      "Thaw"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(methods); i++)
        if (sim_dice(s, 6) == 0)
            guest_set(g, methods[i], sim_dice(s, 2) ? GUEST_FAILS : GUEST_IGNORES);
}

/* That of a restored VM ends in " in " and its directory. */
static const char *
plain_name(const struct fake_start *start, char buf[static FAKE_TEXT_MAX])
{
    (void)snprintf(buf, FAKE_TEXT_MAX, "%.*s", (int)strcspn(start->name, " "),
                   start->name);
    return buf;
}

/* The agent of some VM comes up, once, or calls VmReady again. */
void
sim_ready(struct sim *s)
{
    struct fake_process *p = some_process(s);
    const struct fake_start *start = p ? fake_process_start(p) : NULL;
    char name[FAKE_TEXT_MAX];
    size_t i = 0;

    if (!start || start->cid == 0 || !fake_process_vsock(p) ||
        (start->restore_fd > 0 && fake_process_is_paused(p)))
        return;
    while (i < s->nguests && s->guests[i].cid != start->cid)
        i++;
    if (i == SIM_GUESTS_MAX)
        return;
    if (i == s->nguests) {
        s->guests[i].cid = start->cid;
        s->guests[i].guest = guest_new(&s->w, start->cid);
        s->nguests++;
        choose_ways(s, s->guests[i].guest);
        if (sim_dice(s, 4))
            guest_power_off_on_shutdown(s->guests[i].guest, plain_name(start, name));
    } else if (s->guests[i].answers == 0) {
        return; /* it waits for an answer */
    }
    guest_call_ready(s->guests[i].guest, &s->guests[i].status, &s->guests[i].answers);
}

static void
do_exit(struct sim *s)
{
    static const enum hypervisor_exit reasons[] = {
        HYPERVISOR_EXIT_POWEROFF, HYPERVISOR_EXIT_RESET, HYPERVISOR_EXIT_KILLED,
        HYPERVISOR_EXIT_ACCEL};
    struct fake_process *p = some_process(s);

    if (p)
        fake_process_exit(p, reasons[sim_dice(s, VMT_ARRAY_SIZE(reasons))], "words");
}

static void
do_panic(struct sim *s)
{
    struct fake_process *p = some_process(s);

    if (p)
        fake_process_panic(p);
}

static void
do_kill_companion(struct sim *s)
{
    if (s->w.ncompanions)
        (void)fake_spawn_exit(s->w.spawn,
                              s->w.companions[sim_dice(s, (unsigned)s->w.ncompanions)],
                              SPAWN_EXIT_SIGNAL, SIGSEGV);
}

static void
do_fault(struct sim *s)
{
    if (s->w.host_net && sim_dice(s, 4) == 0)
        fake_host_net_fail_add(s->w.host_net, EBUSY);
    else if (sim_dice(s, 3) == 0)
        sim_fail_states(s);
    else
        fake_host_fail_after(s->w.host, sim_dice(s, 12), ENOSPC);
}

void
sim_give_taps(struct sim *s)
{
    world_kill_daemon(&s->w);
    s->w.host_net = fake_host_net_new();
    s->w.network =
        (struct concierge_network){.prefer_tap = true,
                                   .subnets = {0x64735c00, sim_dice(s, 3) ? 24 : 28},
                                   .containers = {0x64735cc0, 26}};
    world_start_daemon(&s->w);
}

static int
pid_of(struct sim *s, const char *name)
{
    VmTools__Concierge__GetVmInfoRequest request;
    const VmTools__Concierge__GetVmInfoResponse *reply;
    struct client_call call;
    int pid;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&s->w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    reply = (const VmTools__Concierge__GetVmInfoResponse *)call.reply;
    pid = reply->success ? reply->vm_info->pid : 0;
    client_call_done(&call);
    return pid;
}

/* A hypervisor whose id could not be written down is found by its command line and
 * killed; the fake one is no process that the fake spawn could kill. */
static void
kill_unknown_processes(struct sim *s)
{
    for (size_t i = 0; i < fake_hypervisor_count(s->w.hv); i++) {
        struct fake_process *p = fake_hypervisor_process(s->w.hv, i);
        char name[FAKE_TEXT_MAX];

        if (pid_of(s, plain_name(fake_process_start(p), name)) == 0)
            fake_process_exit(p, HYPERVISOR_EXIT_KILLED, "");
    }
}

static void
do_restart(struct sim *s)
{
    fake_host_fail_after(s->w.host, 0, 0);
    sim_end_saved(s);
    world_kill_daemon(&s->w);
    world_run(&s->w, sim_dice(s, 1000));
    world_start_daemon(&s->w);
    kill_unknown_processes(s);
}

static void
do_behave(struct sim *s)
{
    struct fake_behaviour *b = fake_hypervisor_behaviour(s->w.hv);

    b->ignore_quit = sim_dice(s, 3) == 0;
    b->ignore_sigterm = sim_dice(s, 3) == 0;
    b->no_control = sim_dice(s, 4) == 0;
    b->start_error = sim_dice(s, 6) == 0 ? ENOENT : 0;
    sim_spoil(s);
    s->w.companions_hang = sim_dice(s, 6) == 0;
}

/* Nobody answers anything meanwhile: that time is no delay. */
static void
host_sleeps(struct sim *s, unsigned ms)
{
    fake_clock_sleep(s->w.clock, ms);
    for (size_t i = 0; i < s->ncalls; i++)
        s->calls[i].deadline_ms += ms;
}

/* The host changes, sleeps, or wakes up, also when nobody announced it. */
static void
do_host(struct sim *s)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "192.0.2.%u", sim_dice(s, 3));
    fake_host_set_dns(s->w.host, text, "example.org");
    switch (sim_dice(s, 4)) {
    case 0:
        fake_watch_change(&s->w.watch, (enum host_change)sim_dice(s, HOST_CHANGE_COUNT));
        break;
    case 1:
        fake_watch_prepare(&s->w.watch, sim_dice(s, 6000));
        break;
    case 2:
        host_sleeps(s, sim_dice(s, 100000));
        break;
    default:
        fake_watch_wake(&s->w.watch);
        break;
    }
}

/* Its answers are late, or it hangs for good. */
static void
do_freeze(struct sim *s)
{
    struct fake_process *p = some_process(s);

    if (!p)
        return;
    if (sim_dice(s, 2))
        fake_process_freeze(p);
    else
        fake_process_thaw(p);
}

static void
do_suspend(struct sim *s)
{
    const char *method = sim_dice(s, 2) ? "SuspendVm" : "ResumeVm";
    struct sim_call *call = sim_call_new(s, method);
    VmTools__Concierge__SuspendVmRequest request; /* the other has the same fields */

    if (!call)
        return;
    vm_tools__concierge__suspend_vm_request__init(&request);
    request.name = (char *)(uintptr_t)sim_name(s);
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&s->w, method, WORLD_UID, &request.base, NULL, 0, &call->call);
}

static void
do_wait(struct sim *s)
{
    static const unsigned ms[] = {0, 100, 1000, 5000, 20000};

    world_run(&s->w, sim_dice(s, ms[sim_dice(s, VMT_ARRAY_SIZE(ms))] + 1));
}

/* A field gets a value that a caller could have sent: identities that exist, small
 * numbers, values of the enumeration. */
static void
fill_field(struct sim *s, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    void *at = (char *)m + f->offset;
    bool owner =
        strcmp(f->name, "owner_id") == 0 || strcmp(f->name, "cryptohome_id") == 0;
    bool name = strcmp(f->name, "name") == 0 || strcmp(f->name, "vm_name") == 0;

    if (f->label != PROTOBUF_C_LABEL_NONE || (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return;
    if (f->type == PROTOBUF_C_TYPE_STRING && (owner || name)) {
        const char *text = owner ? WORLD_OWNER : sim_name(s);

        memcpy(at, &text, sizeof(text));
    } else if (strcmp(f->name, "snapshot_name") == 0) {
        const char *text = sim_snapshot_name(s);

        memcpy(at, &text, sizeof(text));
    } else if (f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_INT32) {
        *(uint32_t *)at = sim_dice(s, 3) ? sim_dice(s, 20) : 0;
    } else if (f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_INT64) {
        *(uint64_t *)at = sim_dice(s, 3) ? (uint64_t)sim_dice(s, 1000) << 20 : 0;
    } else if (f->type == PROTOBUF_C_TYPE_ENUM) {
        const ProtobufCEnumDescriptor *e = f->descriptor;

        *(int *)at = e->values[sim_dice(s, e->n_values)].value;
    } else if (f->type == PROTOBUF_C_TYPE_BOOL) {
        *(protobuf_c_boolean *)at = sim_dice(s, 2);
    }
}

static size_t
open_fds(struct sim *s, enum ipc_fds kind, int fds[2])
{
    size_t n = kind == IPC_FDS_NONE ? 0 : kind == IPC_FDS_ONE ? 1 : 1 + sim_dice(s, 2);

    for (size_t i = 0; i < n; i++) {
        fds[i] = memfd_create("image", MFD_CLOEXEC);
        assert_true(fds[i] >= 0 && ftruncate(fds[i], 4096) == 0);
    }
    return n;
}

/* Any method of the table, with an argument that makes sense at first sight. StartVm has
 * its own deed. */
static void
do_any(struct sim *s)
{
    const struct ipc_method *method =
        &concierge_service.methods[sim_dice(s, (unsigned)concierge_service.nmethods)];
    const ProtobufCMessageDescriptor *d = method->request;
    VMT_CLEANUP(vmt_freep) ProtobufCMessage *request = NULL;
    struct sim_call *call;
    int fds[2];
    size_t nfds;

    if (strcmp(method->name, "StartVm") == 0 || strcmp(method->name, "StopAllVms") == 0)
        return;
    if (strcmp(method->name, "WaitVm") == 0) /* as long as the VM lives */
        return;
    call = sim_call_new(s, method->name);
    if (!call)
        return;
    if (d) {
        request = malloc(d->sizeof_message);
        assert_non_null(request);
        protobuf_c_message_init(d, request);
        for (unsigned i = 0; i < d->n_fields; i++)
            fill_field(s, request, &d->fields[i]);
    }
    nfds = open_fds(s, method->fds_in, fds);
    client_call(&s->w, method->name, WORLD_UID, request, fds, nfds, &call->call);
}

/* Many at once. */
static void
do_crowd(struct sim *s)
{
    for (unsigned n = sim_dice(s, 20); n > 0; n--)
        do_start(s);
}

static void
do_wake_crowd(struct sim *s)
{
    for (unsigned n = sim_dice(s, 20); n > 0; n--)
        sim_ready(s);
}

static const struct deed {
    void (*fn)(struct sim *s);
    unsigned weight; /* more of what makes things happen */
} deeds[] = {
    {do_start, 12},         {sim_ready, 16},
    {do_wait, 16},          {do_stop, 6},
    {do_any, 16},           {do_exit, 4},
    {do_panic, 2},          {do_sync, 2},
    {do_fault, 4},          {do_behave, 3},
    {do_restart, 4},        {do_crowd, 1},
    {do_wake_crowd, 1},     {do_stop_all, 1},
    {do_kill_companion, 3}, {do_host, 3},
    {do_suspend, 5},        {do_freeze, 2},
    {do_resize, 6},         {do_file_system, 5},
    {sim_snapshot, 8},      {sim_template_ready, 5},
};

void
sim_deed(struct sim *s)
{
    unsigned sum = 0, n;

    if (s->saves && sim_dice(s, 2)) {
        s->totals->deeds++;
        sim_saved_deed(s);
        return;
    }
    for (size_t i = 0; i < VMT_ARRAY_SIZE(deeds); i++)
        sum += deeds[i].weight;
    n = sim_dice(s, sum);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(deeds); i++) {
        if (n < deeds[i].weight) {
            s->totals->deeds++;
            s->totals->restarts += deeds[i].fn == do_restart;
            s->totals->faults += deeds[i].fn == do_fault;
            deeds[i].fn(s);
            return;
        }
        n -= deeds[i].weight;
    }
}

/* Everything answers again, and as it should. */
static void
heal(struct sim *s)
{
    *fake_hypervisor_behaviour(s->w.hv) = (struct fake_behaviour){.no_control = false};
    fake_watch_wake(&s->w.watch);
    for (size_t i = 0; i < fake_hypervisor_count(s->w.hv); i++) {
        fake_process_thaw(fake_hypervisor_process(s->w.hv, i));
        fake_process_control(fake_hypervisor_process(s->w.hv, i));
    }
    world_run(&s->w, 60000); /* longer than any step that waits for a hypervisor */
}

void
sim_calm_down(struct sim *s)
{
    fake_host_fail_after(s->w.host, 0, 0);
    sim_end_saved(s);
    heal(s);
    sim_check_calm(s);
    s->ncalls = s->ncalls < SIM_CALLS_MAX ? s->ncalls : SIM_CALLS_MAX - 1;
    do_stop_all(s);
    world_run(&s->w, 120000); /* the longest stop takes 70 s */
}
