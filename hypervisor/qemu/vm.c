/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/vm.c - one QEMU process: its control channel, its last words, its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "hypervisor/qemu/blockdev_internal.h"
#include "hypervisor/qemu/cmdline_internal.h"
#include "hypervisor/qemu/job_internal.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/state_internal.h"
#include "hypervisor/qemu/vm_internal.h"

#define QMP_SOCKET_NAME "qmp.sock"
/* Between tries to reach a QEMU that hung, or that broke the channel. */
#define RECONNECT_MS 1000u
#define RECONNECT_MAX_MS 60000u

static void
vm_release(struct hypervisor_vm *vm)
{
    qmp_close(vm->qmp);
    if (vm->child)
        vm->hv->spawn->ops->release(vm->child);
    else if (vm->qmp_path)
        (void)unlink(vm->qmp_path);
    qemu_tail_done(&vm->tail);
    free(vm->qmp_path);
    free(vm);
}

void
qemu_vm_free(struct hypervisor_vm *vm)
{
    if (!vm)
        return;
    vm->freed = true;
    vm->hv->clock->ops->timer_cancel(vm->hv->clock, vm->reconnect);
    vm->reconnect = NULL;
    qemu_jobs_drop(vm);
    qemu_state_drop(vm);
    qmp_close(vm->qmp);
    vm->qmp = NULL;
    if (vm->busy == 0)
        vm_release(vm);
}

VMT_DEFINE_FREEP(struct hypervisor_vm, qemu_vm_free)

static void
vm_leave(struct hypervisor_vm *vm)
{
    if (--vm->busy == 0 && vm->freed)
        vm_release(vm);
}

void
qemu_vm_control(struct hypervisor_vm *vm)
{
    bool again = vm->facts.control;

    vm->facts.control = true;
    vm->controlled_ms = vm->hv->clock->ops->now_ms(vm->hv->clock);
    qemu_memory_watch(vm->qmp);
    if (again)
        vmt_log_notice("QEMU's control channel is back pid=%d", (int)vm->id.pid);
    else if (!vm->freed)
        vm->events->on_control(vm->arg);
}

/* Half a guest is none: the daemon that copied its memory died on the way. Going on
 * would run a guest without a vsock device, which nobody would hear of. */
static void
vm_on_heir_status(void *arg, const struct qmp_answer *answer)
{
    static const char words[] = "its state was not loaded yet when our predecessor ended";
    struct hypervisor_vm *vm = arg;
    const char *status = json_string_value(json_object_get(answer->data, "status"));

    vm->busy++;
    if (status && strcmp(status, "inmigrate") == 0) {
        vm->facts.unrestored = true;
        qemu_tail_add(&vm->tail, words);
        if (vm->child)
            (void)vm->hv->spawn->ops->kill(vm->child, SIGKILL);
    } else if (answer->result != -ENOTCONN) {
        qemu_vm_control(vm);
    }
    vm_leave(vm);
}

static void
vm_on_ready(void *arg)
{
    struct hypervisor_vm *vm = arg;
    const struct qmp_request look = {
        .command = "query-status", .fd = -1, .answer = vm_on_heir_status, .arg = vm};

    vm->busy++;
    if (vm->state)
        qemu_state_restore(vm);
    else if (!vm->adopted || qmp_request(vm->qmp, &look) < 0)
        qemu_vm_control(vm);
    vm_leave(vm);
}

/* DEVICE_DELETED comes for parts of a device, too, without its name. */
static void
vm_on_device(struct hypervisor_vm *vm, const char *event, const char *device)
{
    if (vm->freed || !device)
        return;
    if (strcmp(event, "DEVICE_DELETED") == 0)
        qemu_jobs_on_deleted(vm, device);
    if (strcmp(event, "DEVICE_UNPLUG_GUEST_ERROR") == 0)
        qemu_jobs_on_refused(vm, device);
}

static void
vm_on_event(void *arg, const char *name, const json_t *data)
{
    struct hypervisor_vm *vm = arg;
    const char *reason = json_string_value(json_object_get(data, "reason"));

    vm->busy++;
    if (strcmp(name, "SHUTDOWN") == 0 && reason)
        vm->facts.shutdown = qemu_exit_of_shutdown(reason);
    if (strcmp(name, "GUEST_PANICKED") == 0 && !vm->facts.panicked) {
        vm->facts.panicked = true;
        if (!vm->freed)
            vm->events->on_panic(vm->arg);
    }
    vm_on_device(vm, name, json_string_value(json_object_get(data, "device")));
    vm_leave(vm);
}

static void vm_connect_later(struct hypervisor_vm *vm);

static void
vm_on_end(void *arg, int status)
{
    struct hypervisor_vm *vm = arg;

    /* Mostly the process is about to be reaped; if not, signals still work. */
    if (status < 0)
        vmt_log_debug("QEMU control channel broke: %s pid=%d", strerror(-status),
                      (int)vm->id.pid);
    vm->busy++;
    qmp_close(vm->qmp);
    vm->qmp = NULL;
    qemu_jobs_fail(vm);
    if (!vm->freed)
        qemu_state_lost(vm);
    vm_connect_later(vm);
    vm_leave(vm);
}

static const struct qmp_handler vm_qmp_handler = {
    .on_ready = vm_on_ready,
    .on_event = vm_on_event,
    .on_end = vm_on_end,
};

static void
vm_on_exit(void *arg, const struct spawn_exit *how)
{
    struct hypervisor_vm *vm = arg;
    struct hypervisor_exit_info info = {.process = *how};
    char text[QEMU_TAIL_MAX];

    vm->busy++;
    vm->child = NULL;
    vm->hv->clock->ops->timer_cancel(vm->hv->clock, vm->reconnect);
    vm->reconnect = NULL;
    /* What it said last may still lie in the socket and in the pipe. */
    if (vm->qmp)
        qmp_finish(vm->qmp);
    qemu_tail_drain(&vm->tail);
    qemu_tail_done(&vm->tail); /* whoever else has the other end writes to nobody */
    vm->facts.process = *how;
    vm->facts.text = info.text = qemu_tail_text(&vm->tail, text, sizeof(text));
    info.reason = qemu_exit_classify(&vm->facts);
    (void)unlink(vm->qmp_path);
    free(vm->qmp_path); /* a name is removed once, then it may be another's */
    vm->qmp_path = NULL;
    if (!vm->freed)
        vm->events->on_exit(vm->arg, &info);
    vm_leave(vm);
}

/* Bind and listen at path, which QEMU inherits: its clients need not wait for it. */
static int
listen_at(const char *path, int *ret_fd, struct vmt_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (strlen(path) >= sizeof(addr.sun_path))
        return vmt_err_set(err, ENAMETOOLONG, "listen at %s", path);
    memcpy(addr.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return vmt_err_set(err, errno, "create a socket");
    /* On Linux the mode of an unbound socket becomes that of its file. */
    if (fchmod(fd, 0600) < 0 ||
        bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return vmt_err_set(err, errno, "bind %s", path);
    if (listen(fd, 4) < 0) {
        int r = vmt_err_set(err, errno, "listen at %s", path);

        (void)unlink(path);
        return r;
    }
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

/* NULL: no memory. */
static struct hypervisor_vm *
vm_new(struct qemu *hv, const char *run_dir, const struct hypervisor_events *events,
       void *arg)
{
    struct hypervisor_vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        return NULL;
    vm->hv = hv;
    vm->events = events;
    vm->arg = arg;
    vm->tail.fd = -1;
    vmt_list_init(&vm->jobs);
    if (asprintf(&vm->qmp_path, "%s/" QMP_SOCKET_NAME, run_dir) < 0) {
        free(vm);
        return NULL;
    }
    return vm;
}

static int
vm_connect(struct hypervisor_vm *vm, struct vmt_err *err)
{
    const struct qmp_config config = {
        .base = vm->hv->event_base,
        .clock = vm->hv->clock,
        .handler = &vm_qmp_handler,
        .arg = vm,
    };

    return qmp_open(&config, vm->qmp_path, &vm->qmp, err);
}

static void
vm_on_reconnect(void *arg)
{
    struct hypervisor_vm *vm = arg;
    struct vmt_err why;

    vm->reconnect = NULL;
    if (vm_connect(vm, &why) == 0)
        return;
    vmt_log_debug("QEMU has no control channel: %s pid=%d", why.msg, (int)vm->id.pid);
    vm_connect_later(vm);
}

/* A VM that was controlled, or that an earlier daemon left, is worth another try as long
 * as its process lives. One that starts has its deadline. */
static void
vm_connect_later(struct hypervisor_vm *vm)
{
    struct vmt_clock *clock = vm->hv->clock;

    if (vm->freed || !vm->child || vm->state || vm->reconnect ||
        !(vm->adopted || vm->facts.control))
        return;
    /* A QEMU that was taken over may break one channel after the other. */
    if (vm->facts.control &&
        clock->ops->now_ms(clock) - vm->controlled_ms >= RECONNECT_MAX_MS)
        vm->pause_ms = 0;
    vm->pause_ms = vm->pause_ms ? vm->pause_ms * 2 : RECONNECT_MS;
    if (vm->pause_ms > RECONNECT_MAX_MS)
        vm->pause_ms = RECONNECT_MAX_MS;
    if (clock->ops->timer_start(clock, vm->pause_ms, vm_on_reconnect, vm,
                                &vm->reconnect) < 0)
        vmt_log_warning("no memory to reach QEMU again pid=%d", (int)vm->id.pid);
}

static int
vm_spawn(struct hypervisor_vm *vm, const struct vm_spec *spec,
         const struct vmt_argv *argv, int qmp_fd, struct vmt_err *err)
{
    struct spawn_fd fds[QEMU_FDS_MAX];
    VMT_CLEANUP(vmt_closep) int stderr_fd = -1;
    VMT_CLEANUP(vmt_closep) int confine_fd = -1;
    struct spawn_spec child = {
        .argv = (const char *const *)argv->v,
        .fds = fds,
        .new_session = true,
        .cgroup_fd = spec->cgroup_fd,
        .on_exit = vm_on_exit,
        .arg = vm,
    };
    int r = qemu_sandbox(vm->hv, spec, &confine_fd, err);

    if (r == 0)
        r = qemu_tail_init(&vm->tail, vm->hv->event_base, &stderr_fd, err);
    if (r < 0)
        return r;
    child.confine_fd = confine_fd;
    child.nfds = qemu_cmdline_fds(spec, qmp_fd, stderr_fd, fds);
    r = vm->hv->spawn->ops->start(vm->hv->spawn, &child, &vm->child, err);
    if (r == -ENOENT)
        return qemu_missing(vm->hv, err);
    if (r < 0)
        return r;
    vm->hv->spawn->ops->id(vm->child, &vm->id);
    return 0;
}

static int
check_files(const struct vm_spec *spec, struct vmt_err *err)
{
    int r = 0;

    if (spec->firmware_fd > 0)
        r = qemu_check_mode(spec->firmware_fd, O_RDONLY, "the firmware", err);
    if (r == 0 && spec->pflash_fd > 0)
        r = qemu_check_mode(spec->pflash_fd, O_RDWR, "the firmware's variables", err);
    if (r == 0 && spec->console_fd >= 0)
        r = qemu_check_mode(spec->console_fd, O_WRONLY, "the console", err);
    for (size_t i = 0; r == 0 && i < spec->ndisks; i++) {
        r = qemu_blockdev_check(&spec->disks[i], err);
        if (r < 0)
            return vmt_err_wrap(err, r, "disk %zu", i);
    }
    return r;
}

int
qemu_vm_start(struct hypervisor *hv, const struct vm_spec *spec,
              const struct hypervisor_events *events, void *arg,
              struct hypervisor_vm **ret_vm, struct vmt_err *err)
{
    struct qemu *self = VMT_CONTAINER_OF(hv, struct qemu, base);
    const struct qemu_cmdline in = {
        .spec = spec,
        .binary = self->binary,
        .kvm_cpu = self->kvm_cpu,
        .qmp = true,
        .hugetlb =
            spec->hugepages && qemu_hugepages_suffice(QEMU_HUGEPAGES_DIR, spec->mem_mib)};
    VMT_CLEANUP(qemu_vm_freep) struct hypervisor_vm *vm = NULL;
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_closep) int qmp_fd = -1;
    int r = qemu_cmdline_build(&in, &argv, err);

    if (r == 0)
        r = check_files(spec, err);
    if (r == 0)
        r = qemu_state_check(spec, err);
    if (r < 0)
        return r;
    vm = vm_new(self, spec->run_dir, events, arg);
    if (!vm)
        return vmt_err_set(err, ENOMEM, "create a vm");
    r = listen_at(vm->qmp_path, &qmp_fd, err);
    if (r < 0) {
        free(vm->qmp_path); /* whatever stands there is not ours to remove */
        vm->qmp_path = NULL;
        return r;
    }
    vm->facts.kvm = spec->accel == HYPERVISOR_ACCEL_KVM;
    if (spec->restore_fd > 0)
        r = qemu_state_prepare(vm, spec->restore_fd, err);
    if (r == 0)
        r = vm_connect(vm, err);
    if (r == 0)
        r = vm_spawn(vm, spec, &argv, qmp_fd, err);
    if (r < 0)
        return r;
    *ret_vm = vmt_take_ptr(&vm);
    return 0;
}

int
qemu_vm_adopt(struct hypervisor *hv, const char *run_dir, const struct spawn_id *id,
              const struct hypervisor_events *events, void *arg,
              struct hypervisor_vm **ret_vm, struct vmt_err *err)
{
    struct qemu *self = VMT_CONTAINER_OF(hv, struct qemu, base);
    VMT_CLEANUP(qemu_vm_freep)
    struct hypervisor_vm *vm = vm_new(self, run_dir, events, arg);
    struct vmt_err why;
    int r;

    if (!vm)
        return vmt_err_set(err, ENOMEM, "adopt a vm");
    r = self->spawn->ops->adopt(self->spawn, id, vm_on_exit, vm, &vm->child, err);
    if (r < 0)
        return r; /* the process is gone, and vm_release removes what it left */
    vm->id = *id;
    vm->adopted = true;
    /* Without its control channel the process can still be watched and killed. */
    if (vm_connect(vm, &why) < 0) {
        vmt_log_debug("QEMU of an earlier life has no control channel: %s pid=%d",
                      why.msg, (int)id->pid);
        vm_connect_later(vm);
    }
    *ret_vm = vmt_take_ptr(&vm);
    return 0;
}

void
qemu_vm_id(const struct hypervisor_vm *vm, struct spawn_id *ret_id)
{
    *ret_id = vm->id;
}

static int
vm_execute(struct hypervisor_vm *vm, const char *command, hypervisor_done_fn *done,
           void *arg)
{
    /* Not while a state is loaded, either. */
    return vm->qmp && vm->facts.control ? qmp_execute(vm->qmp, command, done, arg)
                                        : -ENOTCONN;
}

/* Source: ACPI, fixed power button; the guest decides what it does about it. */
int
qemu_vm_power_button(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg)
{
    return vm_execute(vm, "system_powerdown", done, arg);
}

int
qemu_vm_pause(struct hypervisor_vm *vm, bool paused, hypervisor_done_fn *done, void *arg)
{
    return vm_execute(vm, paused ? "stop" : "cont", done, arg);
}

int
qemu_vm_quit(struct hypervisor_vm *vm)
{
    int r = vm_execute(vm, "quit", NULL, NULL);

    if (r == 0)
        vm->facts.asked = true;
    return r;
}

int
qemu_vm_kill(struct hypervisor_vm *vm, int sig)
{
    int r = vm->child ? vm->hv->spawn->ops->kill(vm->child, sig) : -ESRCH;

    if (r == 0 && (sig == SIGTERM || sig == SIGKILL))
        vm->facts.asked = true;
    return r;
}
