/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_hypervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "tests/fake/fake_hypervisor_internal.h"

static struct fake *
fake_of(struct hypervisor *hv)
{
    return VMT_CONTAINER_OF(hv, struct fake, base);
}

static void
copy_text(char *to, size_t cap, const char *from)
{
    (void)snprintf(to, cap, "%s", from ? from : "");
}

static void
record(struct fake_start *s, const struct vm_spec *spec)
{
    copy_text(s->name, sizeof(s->name), spec->name);
    copy_text(s->run_dir, sizeof(s->run_dir), spec->run_dir);
    copy_text(s->cmdline, sizeof(s->cmdline), spec->cmdline);
    copy_text(s->vsock_socket, sizeof(s->vsock_socket), spec->vsock_socket);
    s->kernel_fd = spec->kernel_fd;
    s->initrd_fd = spec->initrd_fd;
    s->console_fd = spec->console_fd;
    s->cid = spec->cid;
    s->mem_mib = spec->mem_mib;
    s->vcpus = spec->vcpus;
    s->accel = spec->accel;
    s->net = spec->net;
    s->vsock = spec->vsock;
    s->ndisks = spec->ndisks < FAKE_DISKS_MAX ? spec->ndisks : FAKE_DISKS_MAX;
    for (size_t i = 0; i < s->ndisks; i++) {
        s->disks[i] = spec->disks[i];
        s->disks[i].path = s->disks[i].serial = NULL;
    }
    s->tap_fd = spec->tap_fd;
    s->firmware_fd = spec->firmware_fd;
    s->pflash_fd = spec->pflash_fd;
    s->restore_fd = spec->restore_fd;
    memcpy(s->mac, spec->mac, sizeof(s->mac));
    s->spare_slots = spec->spare_slots;
    s->hugepages = spec->hugepages;
    s->cgroup_fd = spec->cgroup_fd;
    copy_text(s->generation, sizeof(s->generation), spec->generation);
}

static struct hypervisor_vm *
vm_new(struct fake *hv, struct fake_process *p, const struct hypervisor_events *events,
       void *arg)
{
    struct hypervisor_vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        abort();
    vm->hv = hv;
    vm->process = p;
    vm->events = events;
    vm->arg = arg;
    vm->id = p->id;
    vmt_list_init(&vm->pending);
    p->vm = vm;
    if (!hv->behaviour.no_control)
        fake_process_control(p);
    return vm;
}

/* The rules that every backend has; see docs/hypervisors.md. */
static int
check_spec(const struct vm_spec *spec, struct vmt_err *err)
{
    if (spec->cid < VMT_CID_GUEST_MIN || spec->cid == UINT32_MAX)
        return vmt_err_setx(err, EINVAL, "cid %u is reserved", (unsigned)spec->cid);
    if (spec->kernel_fd < 0 && spec->firmware_fd < 1)
        return vmt_err_setx(err, EINVAL, "no kernel to boot");
    if (spec->mem_mib == 0 || spec->vcpus == 0)
        return vmt_err_setx(err, EINVAL, "a vm needs memory and vcpus");
    if (spec->accel == HYPERVISOR_ACCEL_AUTO)
        return vmt_err_setx(err, EINVAL, "the accelerator has not been decided");
    for (size_t i = 0; i < spec->ndisks; i++)
        if (spec->disks[i].slot > spec->spare_slots)
            return vmt_err_setx(err, EINVAL, "disk %zu: there is no such slot", i);
    return 0;
}

static int
fake_start(struct hypervisor *base, const struct vm_spec *spec,
           const struct hypervisor_events *events, void *arg,
           struct hypervisor_vm **ret_vm, struct vmt_err *err)
{
    struct fake *hv = fake_of(base);
    struct fake_process *p;
    int r = check_spec(spec, err);

    if (r < 0)
        return r;
    hv->calls.starts++;
    if (hv->behaviour.start_error)
        return vmt_err_setx(err, hv->behaviour.start_error, "scripted failure");
    p = calloc(1, sizeof(*p));
    if (!p)
        abort();
    p->hv = hv;
    /* Numbers that no process of this machine has (pid_max is at most 2^22). */
    p->id = (struct spawn_id){hv->next_pid++, 1};
    record(&p->start, spec);
    fake_devices_init(&p->devices, spec);
    p->paused = spec->restore_fd > 0;
    vmt_list_append(&hv->processes, &p->node);
    *ret_vm = vm_new(hv, p, events, arg);
    return 0;
}

static int
fake_adopt(struct hypervisor *base, const char *run_dir, const struct spawn_id *id,
           const struct hypervisor_events *events, void *arg,
           struct hypervisor_vm **ret_vm, struct vmt_err *err)
{
    struct fake *hv = fake_of(base);

    hv->calls.adopts++;
    VMT_LIST_FOREACH(node, next, &hv->processes)
    {
        struct fake_process *p = VMT_CONTAINER_OF(node, struct fake_process, node);

        if (p->id.pid != id->pid || p->id.start_time != id->start_time || p->vm ||
            strcmp(p->start.run_dir, run_dir) != 0)
            continue;
        *ret_vm = vm_new(hv, p, events, arg);
        (*ret_vm)->adopted = true;
        return 0;
    }
    return vmt_err_setx(err, ESRCH, "process %d is gone", (int)id->pid);
}

static void
fake_id(const struct hypervisor_vm *vm, struct spawn_id *ret_id)
{
    *ret_id = vm->id;
}

static int
answer(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg)
{
    struct fake_call *c;

    if (!done)
        return 0;
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->vm = vm;
    c->done = done;
    c->arg = arg;
    c->result = -vm->hv->behaviour.call_error;
    vmt_list_append(&vm->pending, &c->node);
    if (!vm->process->frozen)
        fake_later(vm->hv, fake_call_fire, c, &c->timer);
    return 0;
}

static int
fake_power_button(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg)
{
    if (!vm->control)
        return -ENOTCONN;
    vm->hv->calls.power_buttons++;
    if (vm->hv->behaviour.power_button_works && !vm->hv->behaviour.call_error)
        fake_process_exit(vm->process, HYPERVISOR_EXIT_POWEROFF, NULL);
    return answer(vm, done, arg);
}

static int
fake_pause(struct hypervisor_vm *vm, bool paused, hypervisor_done_fn *done, void *arg)
{
    if (!vm->control)
        return -ENOTCONN;
    if (paused)
        vm->hv->calls.pauses++;
    else
        vm->hv->calls.resumes++;
    if (!vm->hv->behaviour.call_error)
        vm->process->paused = paused;
    return answer(vm, done, arg);
}

static int
fake_quit(struct hypervisor_vm *vm)
{
    if (!vm->control)
        return -ENOTCONN;
    vm->hv->calls.quits++;
    if (!vm->hv->behaviour.ignore_quit && !vm->process->frozen)
        fake_process_exit(vm->process, HYPERVISOR_EXIT_REQUEST, NULL);
    return 0;
}

static int
fake_kill(struct hypervisor_vm *vm, int sig)
{
    if (!vm->process)
        return -ESRCH;
    vm->hv->calls.kills++;
    vm->hv->calls.last_signal = sig;
    if (sig == SIGKILL || !vm->hv->behaviour.ignore_sigterm)
        fake_process_exit(vm->process, HYPERVISOR_EXIT_REQUEST, NULL);
    return 0;
}

static void
fake_vm_free(struct hypervisor_vm *vm)
{
    if (!vm)
        return;
    vm->hv->calls.frees++;
    fake_cancel(vm->hv, &vm->control_timer);
    fake_cancel(vm->hv, &vm->panic_timer);
    while (!vmt_list_empty(&vm->pending))
        fake_call_free(VMT_CONTAINER_OF(vm->pending.next, struct fake_call, node));
    if (vm->process)
        vm->process->vm = NULL;
    free(vm);
}

static int
fake_check(struct hypervisor *hv, struct vmt_err *err)
{
    (void)hv;
    (void)err;
    return 0;
}

static void
probe_free(struct hypervisor_probe *probe)
{
    if (!probe)
        return;
    fake_cancel(probe->hv, &probe->timer);
    vmt_list_remove(&probe->node);
    free(probe);
}

static void
probe_fire(void *arg)
{
    struct hypervisor_probe *probe = arg;
    struct fake *hv = probe->hv;
    hypervisor_probe_fn *on_done = probe->on_done;
    void *done_arg = probe->arg;

    probe->timer = NULL;
    probe_free(probe);
    on_done(done_arg, hv->accel, hv->reason, hv->from_cache);
}

static int
fake_probe(struct hypervisor *base, const struct hypervisor_probe_request *req,
           struct hypervisor_probe **ret_probe, struct vmt_err *err)
{
    struct fake *hv = fake_of(base);
    struct hypervisor_probe *probe = calloc(1, sizeof(*probe));

    if (!probe)
        return vmt_err_set(err, ENOMEM, "probe");
    hv->calls.probes++;
    probe->hv = hv;
    probe->on_done = req->on_done;
    probe->arg = req->arg;
    vmt_list_append(&hv->probes, &probe->node);
    if (!hv->probes_held)
        fake_later(hv, probe_fire, probe, &probe->timer);
    *ret_probe = probe;
    return 0;
}

static int
fake_build_id(struct hypervisor *hv, char *buf, size_t cap, struct vmt_err *err)
{
    const char *id = fake_of(hv)->behaviour.build_id;
    int n = snprintf(buf, cap, "%s", id ? id : "fake 1");

    if (n <= 0 || (size_t)n >= cap)
        return vmt_err_setx(err, EIO, "scripted failure");
    return 0;
}

static void
fake_free(struct hypervisor *base)
{
    struct fake *hv;

    if (!base)
        return;
    hv = fake_of(base);
    while (!vmt_list_empty(&hv->processes))
        fake_process_free(
            VMT_CONTAINER_OF(hv->processes.next, struct fake_process, node));
    while (!vmt_list_empty(&hv->probes))
        probe_free(VMT_CONTAINER_OF(hv->probes.next, struct hypervisor_probe, node));
    free(hv);
}

static const struct hypervisor_ops fake_ops = {
    .name = "fake",
    .check = fake_check,
    .probe = fake_probe,
    .probe_cancel = probe_free,
    .start = fake_start,
    .adopt = fake_adopt,
    .id = fake_id,
    .power_button = fake_power_button,
    .quit = fake_quit,
    .kill = fake_kill,
    .pause = fake_pause,
    .build_id = fake_build_id,
    .vm_free = fake_vm_free,
    .free = fake_free,
};

int
fake_hypervisor_new(struct vmt_clock *clock, uint32_t caps, struct hypervisor **ret_hv)
{
    struct fake *hv = calloc(1, sizeof(*hv));

    if (!hv)
        return -ENOMEM;
    hv->ops = fake_ops;
    fake_devices_ops(&hv->ops);
    hv->ops.caps = caps ? caps : UINT32_MAX;
    hv->base.ops = &hv->ops;
    hv->clock = clock;
    hv->next_pid = 1 << 23;
    hv->accel = HYPERVISOR_ACCEL_TCG;
    hv->reason = "no probe was scripted";
    vmt_list_init(&hv->processes);
    vmt_list_init(&hv->probes);
    *ret_hv = &hv->base;
    return 0;
}

struct fake_behaviour *
fake_hypervisor_behaviour(struct hypervisor *hv)
{
    return &fake_of(hv)->behaviour;
}

void
fake_hypervisor_set_probe(struct hypervisor *hv, enum hypervisor_accel accel,
                          const char *reason, bool from_cache)
{
    struct fake *f = fake_of(hv);

    f->accel = accel;
    f->reason = reason;
    f->from_cache = from_cache;
}

void
fake_hypervisor_hold_probes(struct hypervisor *hv, bool held)
{
    struct fake *f = fake_of(hv);

    f->probes_held = held;
    if (held)
        return;
    VMT_LIST_FOREACH(node, next, &f->probes)
    {
        struct hypervisor_probe *p =
            VMT_CONTAINER_OF(node, struct hypervisor_probe, node);

        fake_later(f, probe_fire, p, &p->timer);
    }
}

size_t
fake_hypervisor_count(struct hypervisor *hv)
{
    struct fake *f = fake_of(hv);
    size_t n = 0;

    VMT_LIST_FOREACH(node, next, &f->processes)
    {
        n++;
    }
    return n;
}

struct fake_process *
fake_hypervisor_process(struct hypervisor *hv, size_t index)
{
    struct fake *f = fake_of(hv);

    VMT_LIST_FOREACH(node, next, &f->processes)
    {
        if (index-- == 0)
            return VMT_CONTAINER_OF(node, struct fake_process, node);
    }
    return NULL;
}

/* The name of a restored vm ends in " in " and its directory. */
static bool
has_name(const struct fake_start *start, const char *name)
{
    size_t len = strlen(name);

    return strncmp(start->name, name, len) == 0 &&
           (start->name[len] == '\0' || strncmp(start->name + len, " in /", 5) == 0);
}

struct fake_process *
fake_hypervisor_find(struct hypervisor *hv, const char *name)
{
    struct fake *f = fake_of(hv);

    VMT_LIST_FOREACH(node, next, &f->processes)
    {
        struct fake_process *p = VMT_CONTAINER_OF(node, struct fake_process, node);

        if (has_name(&p->start, name))
            return p;
    }
    return NULL;
}

const struct fake_calls *
fake_hypervisor_calls(struct hypervisor *hv)
{
    return &fake_of(hv)->calls;
}
