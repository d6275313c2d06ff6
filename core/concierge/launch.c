/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/launch.c - from a checked plan to a booting guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/transport.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"

#define CHILD_VHOST_FD 3
#define CHILD_VSOCK_FD 4

static uint64_t
now_us(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;

    return clock->ops->now_us(clock);
}

static void
on_probed(void *arg, enum hypervisor_accel accel, const char *reason, bool from_cache)
{
    struct concierge_vm *vm = arg;

    vm->probe = NULL;
    vm->accel = accel;
    (void)snprintf(vm->accel_reason, sizeof(vm->accel_reason), "%s",
                   reason ? reason : "");
    if (!from_cache)
        vm->times.probe = now_us(vm) - vm->times.request;
    vmt_log(from_cache ? VMT_LOG_DEBUG : VMT_LOG_NOTICE, "accelerator %s: %s vm=%s",
            accel == HYPERVISOR_ACCEL_KVM ? "kvm" : "tcg", vm->accel_reason, vm->key);
    vm_post(vm, VM_EV_PROBED);
}

/* A probe boots the VM's own kernel, and firmware has none. */
static void
choose_without_probe(struct concierge_vm *vm)
{
    bool tcg = vm->c->config.hypervisor->ops->caps & HYPERVISOR_CAP_TCG;

    vm->accel = tcg ? HYPERVISOR_ACCEL_TCG : HYPERVISOR_ACCEL_KVM;
    (void)snprintf(vm->accel_reason, sizeof(vm->accel_reason),
                   "there is no kernel to try hardware virtualization with; ask for "
                   "accel=kvm if it works here");
}

void
vm_probe(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    const struct hypervisor_probe_request request = {
        .kernel_fd = vm->plan.kernel_fd,
        .initrd_fd = vm->plan.initrd_fd,
        .on_done = on_probed,
        .arg = vm,
    };
    struct vmt_err err = {0};

    if (vm->accel == HYPERVISOR_ACCEL_AUTO && vm->plan.firmware_fd > 0)
        choose_without_probe(vm);
    if (vm->accel != HYPERVISOR_ACCEL_AUTO)
        vm_post(vm, VM_EV_PROBED);
    else if (hv->ops->probe(hv, &request, &vm->probe, &err) < 0)
        vm_fail(vm, "choose the accelerator: %s; try accel=tcg", err.msg);
}

/* Progress as seen from outside: a slow host is not a dead guest. */
static bool
console_grew(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;
    uint64_t bytes = host->logs->size(host, vm->console);
    bool grew = bytes != vm->console_bytes;

    vm->console_bytes = bytes;
    return grew;
}

static void
boot_timed_out(struct concierge_vm *vm, uint64_t limit_ms)
{
    const char *hint =
        vm->state == VM_SPAWNING ? "the hypervisor does not answer on its control socket"
        : vm->console_bytes == 0
            ? "its console is empty: is the kernel made for this machine, and does the "
              "accelerator work (try accel=tcg)?"
            : "see its last console lines; a slow host needs a longer timeout";

    vm_fail(vm, "the guest did not report ready within %llu s: %s",
            (unsigned long long)(limit_ms / 1000), hint);
}

/* The clock goes on while the host sleeps, and a guest cannot boot then: a look that
 * comes much too late says nothing about the guest. */
static void
forgive_sleep(struct concierge_vm *vm, uint64_t now)
{
    uint64_t gap = vm->watched_ms ? now - vm->watched_ms : 0;

    vm->watched_ms = now;
    if (gap <= BOOT_TICK_MS + BOOT_LATE_MS)
        return;
    vmt_log_info("nobody looked at the boot for %llu s: the host slept vm=%s",
                 (unsigned long long)(gap / 1000), vm->key);
    vm->progress_ms += gap;
    vm->times.launch += gap * 1000;
}

void
vm_watch_boot(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;
    uint64_t now = clock->ops->now_ms(clock);
    uint64_t limit = vm->plan.timeout_s ? vm->plan.timeout_s * 1000ull : BOOT_MAX_MS;
    uint64_t age, idle, left;

    forgive_sleep(vm, now);
    age = now - vm->times.launch / 1000;
    if (console_grew(vm))
        vm->progress_ms = now;
    idle = now - vm->progress_ms;
    if (age >= limit) {
        boot_timed_out(vm, limit);
        return;
    }
    if (vm_warm_is_restoring(vm) && idle >= WARM_IDLE_MS) {
        vm_warm_fall_back(vm, "its guest did not report ready");
        return;
    }
    if (!vm->plan.timeout_s && idle >= BOOT_PROGRESS_MS) {
        boot_timed_out(vm, idle);
        return;
    }
    left = limit - age;
    vm_arm(vm, left < BOOT_TICK_MS ? left : BOOT_TICK_MS);
}

static void
on_control(void *arg)
{
    struct concierge_vm *vm = arg;
    struct vmt_clock *clock = vm->c->config.clock;

    if (!vm->times.control)
        vm->times.control = now_us(vm);
    vm->progress_ms = clock->ops->now_ms(clock);
    vm_post(vm, VM_EV_CONTROL);
    vm_warm_on_control(vm);
    vm_snapshot_on_control(vm);
}

static void
on_panic(void *arg)
{
    struct concierge_vm *vm = arg;

    vmt_log_warning("the guest kernel panicked vm=%s cid=%u", vm->key, vm->cid);
    if (vm_warm_is_restoring(vm)) {
        vm_warm_fall_back(vm, "its guest panicked");
        return;
    }
    vm->panicked = true;
    if (vm->state >= VM_RUNNING)
        return;
    vm_fail(vm, "the guest kernel panicked while it booted; see its last console lines");
}

static void
on_vsock_gone(void *arg)
{
    vm_snapshot_on_vsock_gone(arg);
}

/* What an end that nobody asked for means for the one who started the VM. */
static const char *const exit_words[] = {
    [HYPERVISOR_EXIT_UNKNOWN] = "the hypervisor ended, and nothing says why",
    [HYPERVISOR_EXIT_POWEROFF] = "the guest switched itself off",
    [HYPERVISOR_EXIT_RESET] = "the guest rebooted, which ends a VM",
    [HYPERVISOR_EXIT_PANIC] = "the guest kernel panicked",
    [HYPERVISOR_EXIT_REQUEST] = "the hypervisor ended on request",
    [HYPERVISOR_EXIT_KILLED] = "the hypervisor was killed or crashed",
    [HYPERVISOR_EXIT_CONFIG] = "the hypervisor refused its configuration",
    [HYPERVISOR_EXIT_ACCEL] = "the accelerator failed (try accel=tcg)",
};

/* Why a boot ended: a kernel that panics before it knows of pvpanic just reboots, so its
 * own words on the console count more than what the hypervisor saw. */
static void
blame_exit(struct concierge_vm *vm, const char *what, const char *text)
{
    VMT_CLEANUP(vmt_freep) char *panic = console_find_line(vm, "Kernel panic");

    if (panic)
        vm_blame(vm, "the guest kernel panicked while it booted: %s", panic);
    else
        vm_blame(vm, "%s before the VM was ready%s%s", what, *text ? ": " : "", text);
}

static void
on_exit(void *arg, const struct hypervisor_exit_info *info)
{
    struct concierge_vm *vm = arg;
    size_t n = (size_t)info->reason;
    const char *what = n < VMT_ARRAY_SIZE(exit_words) && exit_words[n]
                           ? exit_words[n]
                           : exit_words[HYPERVISOR_EXIT_UNKNOWN];
    const char *text = info->text ? info->text : "";

    vmt_log_info("hypervisor ended: %s%s%s vm=%s cid=%u", what, *text ? ": " : "", text,
                 vm->key, vm->cid);
    if (vm_warm_is_restoring(vm))
        vm_warm_fall_back(vm, *text ? text : what);
    else if (vm_is_booting(vm) && vm->state != VM_FALLING_BACK)
        blame_exit(vm, what, text);
    life_note_exit(vm, info);
    vm->hv_id.pid = 0;
    vm_post(vm, VM_EV_EXIT);
}

const struct hypervisor_events vm_hypervisor_events = {
    .on_control = on_control,
    .on_panic = on_panic,
    .on_vsock_gone = on_vsock_gone,
    .on_exit = on_exit,
};

static char *
join(const char *dir, const char *name)
{
    size_t len = strlen(dir) + strlen(name) + 2;
    char *path = malloc(len);

    if (path)
        (void)snprintf(path, len, "%s/%s", dir, name);
    return path;
}

int
vm_connect(struct concierge_vm *vm, struct vmt_err *err)
{
    struct transport *t = vm->c->config.transport;
    int r = startup_serve(vm, err);

    if (r < 0)
        return r;
    r = t->ops->vm_add(t, vm->cid, vm->run_dir, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "make the VM reachable");
    vm->reachable = true;
    return 0;
}

char *
vm_vhost_path(const struct concierge_vm *vm)
{
    return join(vm->run_dir, "vhost-vsock.sock");
}

static int
spawn_companion(struct concierge_vm *vm, const int fds[3], struct vmt_err *err)
{
    struct concierge *c = vm->c;
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    const struct spawn_fd map[] = {
        {fds[0], CHILD_VHOST_FD}, {fds[1], CHILD_VSOCK_FD}, {fds[2], 2}};
    struct spawn_spec spec = {
        .fds = map,
        .nfds = VMT_ARRAY_SIZE(map),
        .new_session = true,
        .cgroup_fd = vm->cpu.fd,
        .on_exit = vm_on_companion_exit,
        .arg = vm,
    };
    int r;

    vmt_argv_add(&argv, c->config.vm_vsock);
    vmt_argv_addf(&argv, "--guest-cid=%u", vm->cid);
    vmt_argv_addf(&argv, "--vhost-fd=%d", CHILD_VHOST_FD);
    vmt_argv_addf(&argv, "--vsock-fd=%d", CHILD_VSOCK_FD);
    vmt_argv_addf(&argv, "--uds-dir=%s", vm->run_dir);
    r = vmt_argv_finish(&argv, err);
    if (r < 0)
        return r;
    spec.argv = (const char *const *)argv.v;
    r = c->config.spawn->ops->start(c->config.spawn, &spec, &vm->companion, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "start %s", c->config.vm_vsock);
    c->config.spawn->ops->id(vm->companion, &vm->companion_id);
    return 0;
}

int
vm_start_companion(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    VMT_CLEANUP(vmt_freep) char *vhost_path = vm_vhost_path(vm);
    VMT_CLEANUP(vmt_freep) char *vsock_path = join(vm->run_dir, "vsock");
    int fds[3] = {-1, -1, -1};
    int r;

    free(vm->companion_log);
    vm->companion_log = join(vm->run_dir, "vm_vsock.log");
    if (!vhost_path || !vsock_path || !vm->companion_log)
        return vmt_err_set(err, ENOMEM, "make the vsock device");
    r = host->files->listen(host, vhost_path, &fds[0], err);
    if (r == 0)
        r = host->files->listen(host, vsock_path, &fds[1], err);
    if (r == 0)
        r = host->logs->open(host, vm->companion_log, &fds[2], err);
    if (r == 0)
        r = spawn_companion(vm, fds, err);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(fds); i++)
        host->files->close(host, fds[i]);
    return r;
}

/* Restored from a template where there is one: restore_fd, or -1. */
static int
start_hypervisor(struct concierge_vm *vm, int console_fd, int restore_fd,
                 struct vmt_err *err)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    const struct start_plan *plan = &vm->plan;
    VMT_CLEANUP(vmt_freep) char *vhost_path = vm_vhost_path(vm);
    char generation[VM_TOKEN_MAX];
    struct vm_spec spec = {
        .name = vm->id.name,
        .run_dir = vm->run_dir,
        .kernel_fd = plan->kernel_fd,
        .initrd_fd = plan->initrd_fd,
        .firmware_fd = plan->firmware_fd,
        .pflash_fd = plan->pflash_fd,
        .cmdline = plan->cmdline,
        .console_fd = console_fd,
        .cid = vm->cid,
        .mem_mib = plan->mem_mib,
        .vcpus = plan->cpus,
        .accel = vm->accel,
        .net = plan->net,
        .vsock = HYPERVISOR_VSOCK_VHOST_USER,
        .vsock_socket = vhost_path,
        .disks = plan->blocks,
        .ndisks = plan->nblocks,
        .oem_strings = (const char *const *)plan->oem_strings,
        .spare_slots = VM_SPARE_SLOTS,
        .generation = generation,
        .hugepages = plan->hugepages,
        .cgroup_fd = vm->cpu.fd,
    };
    int r = concierge_make_uuid(vm->c, generation, err);

    if (r < 0)
        return r;
    if (!vhost_path)
        return vmt_err_set(err, ENOMEM, "start the VM");
    spec.tap_fd = vm->network.tap_fd;
    memcpy(spec.mac, vm->network.mac, sizeof(spec.mac));
    if (restore_fd >= 0)
        vm_warm_apply(vm, restore_fd, &spec);
    vm->times.spawn = now_us(vm);
    vm_images_note(vm);
    r = hv->ops->start(hv, &spec, &vm_hypervisor_events, vm, &vm->hv, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "start the hypervisor");
    hv->ops->id(vm->hv, &vm->hv_id);
    return 0;
}

/* After the announcement: everything that has to be undone by a stop. */
static int
start_processes(struct concierge_vm *vm, int console_fd, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    int restore_fd = vm_warm_prepare(vm);
    int r = vm_connect(vm, err);

    if (r == 0)
        r = vm_start_companion(vm, err);
    if (r == 0)
        r = vm_record_save(vm, err);
    if (r == 0)
        r = start_hypervisor(vm, console_fd, restore_fd, err);
    host->files->close(host, restore_fd);
    if (r < 0)
        return r;
    r = vm_record_save(vm, err);
    if (r < 0) /* an heir would not find it: better no VM than a lost one */
        return vmt_err_wrap(err, r, "remember the hypervisor");
    return 0;
}

/* Before the announcement: a failure here has no signal. */
static int
take_resources(struct concierge_vm *vm, int *ret_console_fd, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    int r = vm_take_numbers(vm, err);

    if (r == 0)
        r = host->files->dir_make(host, &vm->run_dir, err);
    if (r == 0)
        r = network_connect(vm, err);
    if (r == 0)
        r = host->logs->open(host, vm->console, ret_console_fd, err);
    if (r == 0)
        vm_cpu_join(vm);
    if (r == 0)
        vm_storage_begin(vm);
    if (r == 0)
        r = vm_record_save(vm, err);
    return r;
}

/* A failure ends in RELEASING when there is no hypervisor yet, and in the escalation of a
 * stop when there is. */
static void
launch_failed(struct concierge_vm *vm, const struct vmt_err *err)
{
    if (vm->times.spawn)
        concierge_note_launch(vm->c, err);
    vm_blame(vm, "%s", err->msg);
    vm_post(vm, vm->hv ? VM_EV_FAILED : VM_EV_EXIT);
}

void
vm_act_launch(struct concierge_vm *vm)
{
    struct concierge *c = vm->c;
    struct vmt_err err = {0};
    int console_fd = -1;
    int r;

    vm->times.launch = now_us(vm);
    vm->progress_ms = vm->times.launch / 1000;
    r = take_resources(vm, &console_fd, &err);
    if (r == 0) {
        console_watch(c);
        signal_starting_up(vm);
        r = start_processes(vm, console_fd, &err);
    }
    c->config.host->files->close(c->config.host, console_fd);
    if (!vm_warm_is_restoring(vm)) { /* else it may still have to boot */
        vm_cpu_started(vm);
        plan_close_images(&vm->plan);
        network_close_fd(vm);
    }
    if (r < 0) {
        launch_failed(vm, &err);
        return;
    }
    concierge_note_launch(c, NULL);
    template_builder_poke(c->builder);
    vm_watch_boot(vm);
}

/* All that the first hypervisor had is still there: cid, directory, vsock device. */
static int
start_again(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    int console_fd = -1;
    int r = host->logs->open(host, vm->console, &console_fd, err);

    if (r == 0)
        r = start_hypervisor(vm, console_fd, -1, err);
    host->files->close(host, console_fd);
    if (r == 0)
        r = vm_record_save(vm, err);
    return r;
}

void
vm_act_relaunch(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    struct vmt_err err = {0};
    int r;

    guest_calls_close(vm);
    if (vm->hv)
        hv->ops->vm_free(vm->hv);
    vm->hv = NULL;
    vm_warm_free(vmt_take_ptr(&vm->warm));
    vm->start_mode = "cold";
    vm->times.control = vm->times.ready = vm->times.resumed = 0;
    vm->times.launch = now_us(vm);
    vm->progress_ms = vm->times.launch / 1000;
    vm->console_bytes = vm->watched_ms = 0;
    r = start_again(vm, &err);
    vm_cpu_started(vm);
    plan_close_images(&vm->plan);
    network_close_fd(vm);
    if (r < 0)
        launch_failed(vm, &err);
    else
        vm_watch_boot(vm);
}
