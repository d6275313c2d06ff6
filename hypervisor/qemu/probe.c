/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/probe.c - does KVM work here? Boot the real kernel once and see.
 *
 * On some hosts /dev/kvm opens, makes VMs and runs firmware, and no Linux kernel ever
 * reaches user space: nested and paravirtual back ends do that. So only the marker that
 * maitred prints as process 1 counts. See accel_internal.h for what is remembered. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "hypervisor/qemu/accel_internal.h"
#include "hypervisor/qemu/cmdline_internal.h"
#include "hypervisor/qemu/exit_internal.h"
#include "hypervisor/qemu/tail_internal.h"

/* What maitred prints when "maitred.probe" is on its command line. */
#define PROBE_MARKER "vm_tools-probe-ok"
#define PROBE_CMDLINE "console=ttyS0 panic=-1 no_timer_check quiet maitred.probe"

/* With KVM a kernel reaches user space within a second, on a busy host within three. */
#define PROBE_DEADLINE_MS 10000u
#define PROBE_SUSPICIOUS_DEADLINE_MS 5000u
/* Emulated (tests only): 2 s on an idle machine, far more on one that runs tests. */
#define PROBE_EMULATED_DEADLINE_MS 120000u
/* How long a killed QEMU may take to go before we stop watching it. */
#define PROBE_REAP_DEADLINE_MS 5000u

/* Holds the kernel (64 MiB as ELF), the unpacked initrd and the initrd itself. */
#define PROBE_MEM_MIB 512

/* Each is tried once, the next only when the one before failed on an MSR. Hosts that do
 * not let IA32_ARCH_CAPABILITIES (MSR 0x10a) be set are the common case. */
static const char *const probe_cpus[] = {"host", "host,-arch-capabilities"};

struct hypervisor_probe {
    struct qemu *hv; /* borrowed */
    hypervisor_probe_fn *on_done;
    void *arg;                /* borrowed */
    int kernel_fd, initrd_fd; /* owned */
    json_t *key;              /* owned */
    enum hypervisor_accel accel;
    unsigned deadline_ms;
    size_t attempt;            /* index into probe_cpus */
    struct spawn_child *child; /* NULL: none runs */
    struct vmt_timer *timer;
    struct qemu_tail console, errors;
    bool booted;   /* the marker came */
    bool late;     /* the deadline came first */
    bool remember; /* the verdict speaks of the host, not of a bad image */
    bool from_cache;
    struct accel_verdict verdict;
};

static void
probe_stop_timer(struct hypervisor_probe *p)
{
    p->hv->clock->ops->timer_cancel(p->hv->clock, p->timer);
    p->timer = NULL;
}

static int
probe_start_timer(struct hypervisor_probe *p, uint64_t delay_ms, vmt_timer_fn *fn)
{
    probe_stop_timer(p);
    return p->hv->clock->ops->timer_start(p->hv->clock, delay_ms, fn, p, &p->timer);
}

void
qemu_probe_cancel(struct hypervisor_probe *probe)
{
    if (!probe)
        return;
    if (probe->child) {
        (void)probe->hv->spawn->ops->kill(probe->child, SIGKILL);
        probe->hv->spawn->ops->release(probe->child);
    }
    probe_stop_timer(probe);
    qemu_tail_done(&probe->console);
    qemu_tail_done(&probe->errors);
    vmt_closep(&probe->kernel_fd);
    vmt_closep(&probe->initrd_fd);
    json_decref(probe->key);
    free(probe);
}

VMT_DEFINE_FREEP(struct hypervisor_probe, qemu_probe_cancel)

static int64_t
wall_seconds(struct vmt_clock *clock)
{
    int64_t sec;
    int32_t nsec;

    clock->ops->wall(clock, &sec, &nsec);
    return sec;
}

/* Runs from the loop, as a timer or as the exit of the last QEMU. */
static void
probe_finish(void *arg)
{
    struct hypervisor_probe *p = arg;
    struct qemu *hv = p->hv;
    struct accel_verdict verdict = p->verdict;
    hypervisor_probe_fn *on_done = p->on_done;
    void *done_arg = p->arg;
    bool from_cache = p->from_cache;

    p->timer = NULL;
    if (verdict.accel == HYPERVISOR_ACCEL_KVM)
        (void)snprintf(hv->kvm_cpu, sizeof(hv->kvm_cpu), "%s", verdict.cpu);
    if (p->remember && hv->cache_dir) {
        int r =
            accel_cache_store(hv->cache_dir, p->key, wall_seconds(hv->clock), &verdict);

        if (r < 0)
            vmt_log_debug("accelerator verdict is not remembered: %s dir=%s",
                          strerror(-r), hv->cache_dir);
    }
    qemu_probe_cancel(p); /* nothing runs any more; this only releases */
    on_done(done_arg, verdict.accel, verdict.reason, from_cache);
}

/* The killed QEMU does not go: answer without it, the spawner still reaps it. */
static void
probe_on_reap_deadline(void *arg)
{
    struct hypervisor_probe *p = arg;

    p->timer = NULL;
    p->hv->spawn->ops->release(p->child);
    p->child = NULL;
    probe_finish(p);
}

static void
probe_kill(struct hypervisor_probe *p)
{
    if (!p->child)
        return; /* it has gone already, and this is its last output */
    (void)p->hv->spawn->ops->kill(p->child, SIGKILL);
    if (probe_start_timer(p, PROBE_REAP_DEADLINE_MS, probe_on_reap_deadline) < 0)
        vmt_log_debug("no timer for the end of a probe");
}

static void
probe_set_verdict(struct hypervisor_probe *p)
{
    struct accel_verdict *v = &p->verdict;

    p->remember = p->booted || p->late;
    (void)snprintf(v->cpu, sizeof(v->cpu), "%s", probe_cpus[p->attempt]);
    v->accel = p->booted ? HYPERVISOR_ACCEL_KVM : HYPERVISOR_ACCEL_TCG;
    if (p->booted)
        (void)snprintf(v->reason, sizeof(v->reason),
                       "a Linux kernel booted with KVM and -cpu %s", v->cpu);
    else if (p->late)
        (void)snprintf(v->reason, sizeof(v->reason),
                       "/dev/kvm is there, but a Linux kernel did not come up with it "
                       "within %u s",
                       p->deadline_ms / 1000);
}

static void
probe_on_deadline(void *arg)
{
    struct hypervisor_probe *p = arg;

    p->timer = NULL;
    p->late = true;
    probe_set_verdict(p);
    probe_kill(p);
}

/* The line must be whole: what follows the marker is the end of the line. */
static void
probe_on_console(void *arg)
{
    struct hypervisor_probe *p = arg;
    const char *at = memmem(p->console.bytes, p->console.len, PROBE_MARKER "\r",
                            strlen(PROBE_MARKER "\r"));

    if (!at)
        at = memmem(p->console.bytes, p->console.len, PROBE_MARKER "\n",
                    strlen(PROBE_MARKER "\n"));
    if (!at || p->booted || p->late)
        return;
    p->booted = true;
    probe_set_verdict(p);
    probe_kill(p);
}

static int probe_boot(struct hypervisor_probe *p, struct vmt_err *err);

/* QEMU went by itself without the marker: it aborted, or the guest did. */
static void
probe_explain_exit(struct hypervisor_probe *p, const struct spawn_exit *how)
{
    struct accel_verdict *v = &p->verdict;
    char text[160];
    struct qemu_exit_facts facts = {
        .kvm = p->accel == HYPERVISOR_ACCEL_KVM,
        .process = *how,
        .text = qemu_tail_text(&p->errors, text, sizeof(text)),
    };

    probe_set_verdict(p);
    if (qemu_exit_classify(&facts) == HYPERVISOR_EXIT_ACCEL) {
        p->remember = true;
        (void)snprintf(v->reason, sizeof(v->reason), "QEMU cannot use KVM here: %s",
                       text);
        return;
    }
    if (how->kind == SPAWN_EXIT_CODE && how->code == 0)
        (void)snprintf(v->reason, sizeof(v->reason),
                       "the guest ended before its first process answered: is this the "
                       "initrd of our image?");
    else
        (void)snprintf(v->reason, sizeof(v->reason), "QEMU failed to boot a guest: %s",
                       text);
}

static bool
probe_should_retry(const struct hypervisor_probe *p, const struct spawn_exit *how)
{
    return how->kind == SPAWN_EXIT_SIGNAL && how->code == SIGABRT &&
           memmem(p->errors.bytes, p->errors.len, "MSR", 3) &&
           p->attempt + 1 < VMT_ARRAY_SIZE(probe_cpus);
}

static void
probe_on_exit(void *arg, const struct spawn_exit *how)
{
    struct hypervisor_probe *p = arg;
    struct vmt_err err;

    p->child = NULL;
    probe_stop_timer(p);
    qemu_tail_drain(&p->errors);
    if (!p->booted && !p->late)
        qemu_tail_drain(&p->console);
    if (!p->booted && !p->late) {
        if (probe_should_retry(p, how)) {
            p->attempt++;
            if (probe_boot(p, &err) == 0)
                return;
        }
        probe_explain_exit(p, how);
    }
    probe_finish(p);
}

static int
probe_open_pipes(struct hypervisor_probe *p, int *ret_console_fd, int *ret_stderr_fd,
                 struct vmt_err *err)
{
    int r;

    qemu_tail_done(&p->console); /* those of an earlier try */
    qemu_tail_done(&p->errors);
    r = qemu_tail_init(&p->console, p->hv->event_base, ret_console_fd, err);
    if (r < 0)
        return r;
    p->console.on_data = probe_on_console;
    p->console.arg = p;
    return qemu_tail_init(&p->errors, p->hv->event_base, ret_stderr_fd, err);
}

static int
probe_spawn(struct hypervisor_probe *p, const struct vm_spec *spec, int stderr_fd,
            struct vmt_err *err)
{
    const struct qemu_cmdline in = {
        .spec = spec, .binary = p->hv->binary, .kvm_cpu = probe_cpus[p->attempt]};
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_closep) int confine_fd = -1;
    struct spawn_fd fds[QEMU_FDS_MAX];
    struct spawn_spec child = {
        .fds = fds, .new_session = true, .on_exit = probe_on_exit, .arg = p};
    int r = qemu_cmdline_build(&in, &argv, err);

    if (r == 0)
        r = qemu_sandbox(p->hv, spec, &confine_fd, err);
    if (r < 0)
        return r;
    child.confine_fd = confine_fd;
    child.argv = (const char *const *)argv.v;
    child.nfds = qemu_cmdline_fds(spec, -1, stderr_fd, fds);
    r = p->hv->spawn->ops->start(p->hv->spawn, &child, &p->child, err);
    return r == -ENOENT ? qemu_missing(p->hv, err) : r;
}

static int
probe_boot(struct hypervisor_probe *p, struct vmt_err *err)
{
    struct vm_spec spec = {
        .name = "probe",
        .kernel_fd = p->kernel_fd,
        .initrd_fd = p->initrd_fd,
        .cmdline = PROBE_CMDLINE,
        .cid = VMT_CID_GUEST_MIN,
        .mem_mib = PROBE_MEM_MIB,
        .vcpus = 1,
        .accel = p->accel,
    };
    VMT_CLEANUP(vmt_closep) int console_fd = -1;
    VMT_CLEANUP(vmt_closep) int stderr_fd = -1;
    int r = probe_open_pipes(p, &console_fd, &stderr_fd, err);

    if (r < 0)
        return r;
    spec.console_fd = console_fd;
    r = probe_spawn(p, &spec, stderr_fd, err);
    if (r < 0)
        return r;
    if (probe_start_timer(p, p->deadline_ms, probe_on_deadline) < 0)
        return vmt_err_set(err, ENOMEM, "probe the accelerator");
    return 0;
}

/* What is known without a boot. Returns whether that is a verdict. */
static bool
probe_is_known(struct hypervisor_probe *p, bool force)
{
    struct accel_verdict *v = &p->verdict;

    if (p->accel == HYPERVISOR_ACCEL_KVM &&
        !accel_kvm_may_work("/dev/kvm", v->reason, sizeof(v->reason))) {
        v->accel =
            HYPERVISOR_ACCEL_TCG; /* not remembered: it costs nothing to ask again */
        return true;
    }
    if (force || !p->hv->cache_dir)
        return false;
    p->from_cache =
        accel_cache_find(p->hv->cache_dir, p->key, wall_seconds(p->hv->clock), v);
    return p->from_cache;
}

static unsigned
probe_patience(enum hypervisor_accel accel)
{
    if (accel == HYPERVISOR_ACCEL_TCG)
        return PROBE_EMULATED_DEADLINE_MS;
    return accel_kvm_is_suspicious() ? PROBE_SUSPICIOUS_DEADLINE_MS : PROBE_DEADLINE_MS;
}

/* p is all zeroes, and fit for qemu_probe_cancel whatever this returns. */
static int
probe_init(struct hypervisor_probe *p, struct qemu *hv,
           const struct hypervisor_probe_request *req, struct vmt_err *err)
{
    p->hv = hv;
    p->on_done = req->on_done;
    p->arg = req->arg;
    p->console.fd = p->errors.fd = p->initrd_fd = -1;
    p->accel = hv->probe_accel == HYPERVISOR_ACCEL_TCG ? HYPERVISOR_ACCEL_TCG
                                                       : HYPERVISOR_ACCEL_KVM;
    p->deadline_ms = probe_patience(p->accel);
    p->kernel_fd = fcntl(req->kernel_fd, F_DUPFD_CLOEXEC, 3);
    if (p->kernel_fd < 0)
        return vmt_err_set(err, errno, "probe the accelerator: kernel");
    if (req->initrd_fd >= 0)
        p->initrd_fd = fcntl(req->initrd_fd, F_DUPFD_CLOEXEC, 3);
    if (req->initrd_fd >= 0 && p->initrd_fd < 0)
        return vmt_err_set(err, errno, "probe the accelerator: initrd");
    p->key = accel_key_new(hv->binary, p->kernel_fd);
    return p->key ? 0 : vmt_err_set(err, ENOMEM, "probe the accelerator");
}

int
qemu_probe(struct hypervisor *hv, const struct hypervisor_probe_request *req,
           struct hypervisor_probe **ret_probe, struct vmt_err *err)
{
    struct qemu *self = VMT_CONTAINER_OF(hv, struct qemu, base);
    VMT_CLEANUP(qemu_probe_cancelp) struct hypervisor_probe *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return vmt_err_set(err, ENOMEM, "probe the accelerator");
    r = probe_init(p, self, req, err);
    if (r < 0)
        return r;
    if (!probe_is_known(p, req->force))
        r = probe_boot(p, err);
    else if (probe_start_timer(p, 0, probe_finish) < 0)
        r = vmt_err_set(err, ENOMEM, "probe the accelerator");
    if (r < 0)
        return r;
    *ret_probe = vmt_take_ptr(&p);
    return 0;
}
