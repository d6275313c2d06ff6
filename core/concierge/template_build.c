/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/template_build.c - make templates with throw-away VMs, one at a time,
 * when no VM boots.
 *
 * Such a VM is in no list and on no bus: it has no name, no owner's data, no vsock device
 * and no disk but the root image, which it cannot write. It dies with the daemon that
 * made it, or the next one finds its directory and kills it. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"

/* Who has just started a VM uses it first. */
#define DELAY_MS 3000u
#define TICK_MS 200u
/* From the last sign of progress. Nobody waits, and on a busy host its guest hardly runs.
 */
#define PROGRESS_MS 300000u
#define BUILD_MAX_MS 600000u
#define SAVE_MAX_MS 120000u
#define END_MAX_MS 10000u
#define QUEUE_MAX 4u
#define WHY_MAX VMT_ERR_MSG_MAX
#define LOG_TAIL 8192u
#define READY_LINE "vm_tools-template-ready"

enum build_step {
    BUILD_IDLE = 0,
    BUILD_WAIT,  /* for a moment at which nobody is in a hurry */
    BUILD_BOOT,  /* until the agent says that it is there */
    BUILD_PAUSE, /* until the guest stands still */
    BUILD_SAVE,  /* until its state is written */
    BUILD_END,   /* until the process is gone */
    BUILD_SYNC,  /* until the state is on the disk */
};

struct template_builder {
    struct concierge *c;          /* borrowed */
    struct vmt_list queue;        /* of struct template_shape.node, owned */
    struct template_shape *shape; /* owned: under construction */
    enum build_step step;
    struct hypervisor_vm *hv; /* owned */
    struct spawn_child *sync; /* owned */
    struct vmt_timer *timer;  /* owned */
    char *run_dir, *console;  /* owned */
    int state_fd;             /* -1: none */
    uint64_t begun_ms, progress_ms;
    uint64_t console_bytes;
    bool control, held; /* paused, because a VM boots */
    bool stopped;       /* nothing more is built */
    char why[WHY_MAX];  /* "" while all goes well */
};

static void on_timer(void *arg);

static uint64_t
now_ms(const struct template_builder *b)
{
    struct vmt_clock *clock = b->c->config.clock;

    return clock->ops->now_ms(clock);
}

static void
disarm(struct template_builder *b)
{
    struct vmt_clock *clock = b->c->config.clock;

    clock->ops->timer_cancel(clock, b->timer);
    b->timer = NULL;
}

static void
arm(struct template_builder *b, uint64_t delay_ms)
{
    struct vmt_clock *clock = b->c->config.clock;

    disarm(b);
    if (clock->ops->timer_start(clock, delay_ms, on_timer, b, &b->timer) < 0)
        vmt_log_error("no memory for the timer of a template");
}

/* Does some VM need the processors more? */
static bool
somebody_boots(const struct concierge *c)
{
    VMT_LIST_FOREACH(at, following, &c->vms)
    if (vm_is_booting(VMT_CONTAINER_OF(at, struct concierge_vm, node)))
        return true;
    return false;
}

/* Let go of the process, dead or alive, and of all but the shape and the state. */
static void
release_vm(struct template_builder *b)
{
    struct host *host = b->c->config.host;
    struct hypervisor *hv = b->c->config.hypervisor;
    struct vmt_err err = {0};

    if (b->hv)
        hv->ops->vm_free(b->hv);
    b->hv = NULL;
    if (b->run_dir && host->files->dir_remove(host, b->run_dir, &err) < 0)
        vmt_log_warning("directory of a template not removed: %s", err.msg);
    free(vmt_take_ptr(&b->run_dir));
    free(vmt_take_ptr(&b->console));
}

/* The next one waits for its time, too. */
static void
go_idle(struct template_builder *b)
{
    struct host *host = b->c->config.host;
    struct concierge *c = b->c;

    host->state->drop(host, vmt_take_fd(&b->state_fd));
    template_shape_free(vmt_take_ptr(&b->shape));
    b->why[0] = '\0';
    b->step = BUILD_IDLE;
    disarm(b);
    if (!vmt_list_empty(&b->queue) && !b->stopped) {
        b->step = BUILD_WAIT;
        arm(b, DELAY_MS);
        return;
    }
    concierge_vm_gone(c);
}

static void
finish(struct template_builder *b)
{
    struct vmt_err err = {0};

    if (!b->why[0] && template_keep(b->c, b->shape, b->state_fd, &err) < 0)
        (void)snprintf(b->why, sizeof(b->why), "%s", err.msg);
    if (b->why[0]) {
        vmt_log_notice("no template was made, VMs of this kind boot: %s file=%s", b->why,
                       b->shape->state);
        template_note_failure(b->c, b->shape, b->why);
    } else {
        vmt_log_info("template made after %llu ms file=%s",
                     (unsigned long long)(now_ms(b) - b->begun_ms), b->shape->state);
    }
    go_idle(b);
}

static void
on_synced(void *arg, const struct spawn_exit *how)
{
    struct template_builder *b = arg;

    b->sync = NULL;
    if (how->kind != SPAWN_EXIT_CODE || how->code != 0)
        (void)snprintf(b->why, sizeof(b->why), "the state could not be written out");
    finish(b);
}

/* A state that is only half on the disk after a power cut would restore a guest with
 * holes in its memory. Waiting for a disk would block the loop, so a process waits:
 * sync(1) of one file is fsync(2). */
static void
start_sync(struct template_builder *b)
{
    struct spawn *spawn = b->c->config.spawn;
    static const char *const argv[] = {"sync", "/proc/self/fd/3", NULL};
    const struct spawn_fd fds[] = {{b->state_fd, 3}};
    const struct spawn_spec spec = {
        .argv = argv, .fds = fds, .nfds = 1, .on_exit = on_synced, .arg = b};
    struct vmt_err err = {0};

    b->step = BUILD_SYNC;
    arm(b, SAVE_MAX_MS);
    if (spawn->ops->start(spawn, &spec, &b->sync, &err) == 0)
        return;
    (void)snprintf(b->why, sizeof(b->why), "%s", err.msg);
    finish(b);
}

/* The process is gone, or has to be given up. */
static void
vm_over(struct template_builder *b)
{
    disarm(b);
    release_vm(b);
    if (b->why[0])
        finish(b);
    else
        start_sync(b);
}

/* Nothing in the guest is worth a shutdown. The exit comes from the loop. */
static void
end_vm(struct template_builder *b)
{
    struct hypervisor *hv = b->c->config.hypervisor;

    b->step = BUILD_END;
    if (b->hv)
        (void)hv->ops->kill(b->hv, SIGKILL);
    arm(b, b->hv ? END_MAX_MS : 0);
}

__attribute__((format(printf, 2, 3))) static void
fail(struct template_builder *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(b->why, sizeof(b->why), fmt, ap);
    va_end(ap);
    end_vm(b);
}

static void
on_saved(void *arg, int result, const struct vmt_err *err)
{
    struct template_builder *b = arg;

    if (b->step != BUILD_SAVE)
        return;
    if (result < 0)
        fail(b, "its state was not saved: %s", err ? err->msg : strerror(-result));
    else
        end_vm(b);
}

static void
on_paused(void *arg, int result, const struct vmt_err *err)
{
    struct template_builder *b = arg;
    struct hypervisor *hv = b->c->config.hypervisor;
    struct host *host = b->c->config.host;
    struct vmt_err why = {0};
    int r;

    if (b->step != BUILD_PAUSE)
        return;
    if (result < 0) {
        fail(b, "its guest was not paused: %s", err ? err->msg : strerror(-result));
        return;
    }
    if (host->state->create(host, b->shape->dir, &b->state_fd, &why) < 0) {
        fail(b, "%s", why.msg);
        return;
    }
    b->step = BUILD_SAVE;
    arm(b, SAVE_MAX_MS);
    r = hv->ops->save(b->hv, b->state_fd, on_saved, b);
    if (r < 0)
        fail(b, "its state was not saved: %s", strerror(-r));
}

static void
pause_guest(struct template_builder *b)
{
    struct hypervisor *hv = b->c->config.hypervisor;
    int r;

    b->step = BUILD_PAUSE;
    arm(b, END_MAX_MS);
    r = hv->ops->pause(b->hv, true, on_paused, b);
    if (r < 0)
        fail(b, "its guest was not paused: %s", strerror(-r));
}

static bool
is_ready(struct template_builder *b)
{
    struct host *host = b->c->config.host;
    VMT_CLEANUP(vmt_freep) char *tail = NULL;
    uint64_t bytes = host->logs->size(host, b->console);
    size_t len = 0;

    if (bytes == b->console_bytes)
        return false;
    b->console_bytes = bytes;
    b->progress_ms = now_ms(b);
    return host->logs->tail(host, b->console, LOG_TAIL, &tail, &len, NULL) == 0 &&
           strstr(tail, READY_LINE);
}

/* A guest that stands still while a VM boots makes no progress, and need not. */
static void
hold(struct template_builder *b, bool held)
{
    struct hypervisor *hv = b->c->config.hypervisor;

    if (held)
        b->progress_ms = now_ms(b);
    if (b->held == held || !b->control)
        return;
    b->held = held;
    b->progress_ms = now_ms(b);
    (void)hv->ops->pause(b->hv, held, NULL, NULL);
}

static void
watch_boot(struct template_builder *b)
{
    uint64_t now;

    if (b->control && is_ready(b)) {
        pause_guest(b);
        return;
    }
    hold(b, somebody_boots(b->c));
    now = now_ms(b); /* not before: holding it counts as progress */
    if (b->console_bytes > CONSOLE_LOG_MAX)
        fail(b, "its guest floods its console");
    else if (now - b->progress_ms >= PROGRESS_MS || now - b->begun_ms >= BUILD_MAX_MS)
        fail(b, "its guest did not get ready in time; does its agent know templates?");
    else
        arm(b, TICK_MS);
}

static void
on_control(void *arg)
{
    struct template_builder *b = arg;

    b->control = true;
    b->progress_ms = now_ms(b);
    if (b->step == BUILD_BOOT)
        hold(b, somebody_boots(b->c));
}

static void
on_panic(void *arg)
{
    struct template_builder *b = arg;

    if (b->step == BUILD_BOOT)
        fail(b, "its guest panicked");
}

/* Not freed from here: the hypervisor's own callback is on the stack. */
static void
on_exit(void *arg, const struct hypervisor_exit_info *info)
{
    struct template_builder *b = arg;

    if (b->step != BUILD_END && !b->why[0])
        (void)snprintf(b->why, sizeof(b->why), "its hypervisor ended%s%s",
                       info->text && *info->text ? ": " : "",
                       info->text ? info->text : "");
    b->step = BUILD_END;
    arm(b, 0);
}

static const struct hypervisor_events events = {
    .on_control = on_control,
    .on_panic = on_panic,
    .on_exit = on_exit,
};

static int
start_hypervisor(struct template_builder *b, int console_fd, struct vmt_err *err)
{
    struct hypervisor *hv = b->c->config.hypervisor;
    const struct template_shape *shape = b->shape;
    const struct hypervisor_disk root = {
        .fd = shape->root_fd, .read_only = true, .serial = "rootfs"};
    struct vm_spec spec = {
        /* The directory in its command line gives an orphan away. */
        .name = b->run_dir,
        .run_dir = b->run_dir,
        .kernel_fd = shape->kernel_fd,
        .initrd_fd = shape->initrd_fd,
        .cmdline = shape->cmdline,
        .console_fd = console_fd,
        .cid = VMT_CID_GUEST_MIN, /* no vsock device: nobody sees it */
        .mem_mib = shape->mem_mib,
        .vcpus = shape->cpus,
        .accel = shape->accel,
        .net = shape->net,
        .vsock = HYPERVISOR_VSOCK_NONE,
        .disks = &root,
        .ndisks = 1,
        .spare_slots = VM_SPARE_SLOTS,
        .generation = "00000000-0000-4000-8000-000000000000",
    };
    struct host *host = b->c->config.host;
    struct spawn_id id;
    int r = network_spare(b->c, shape->net, &spec.tap_fd, err);

    if (r < 0)
        return r;
    r = hv->ops->start(hv, &spec, &events, b, &b->hv, err);
    if (spec.tap_fd > 0)
        host->files->close(host, spec.tap_fd);
    if (r < 0)
        return r;
    hv->ops->id(b->hv, &id);
    host->state->background(host, &id);
    return 0;
}

static int
launch(struct template_builder *b, struct vmt_err *err)
{
    static const char name[] = "/console.log";
    struct host *host = b->c->config.host;
    int console_fd = -1;
    int r = host->files->dir_make(host, &b->run_dir, err);

    if (r < 0)
        return r;
    b->console = malloc(strlen(b->run_dir) + sizeof(name));
    if (!b->console)
        return vmt_err_set(err, ENOMEM, "make a template");
    (void)sprintf(b->console, "%s%s", b->run_dir, name);
    r = host->logs->open(host, b->console, &console_fd, err);
    if (r == 0)
        r = start_hypervisor(b, console_fd, err);
    host->files->close(host, console_fd);
    return r;
}

/* An earlier one may have been made meanwhile, for another VM of the same kind. */
static struct template_shape *
next_shape(struct template_builder *b)
{
    while (!vmt_list_empty(&b->queue)) {
        struct template_shape *shape =
            VMT_CONTAINER_OF(b->queue.next, struct template_shape, node);
        struct host *host = b->c->config.host;
        int fd = -1;
        bool needed;

        vmt_list_remove(&shape->node);
        needed = template_find(b->c, shape, &fd) == TEMPLATE_NONE;
        host->files->close(host, fd);
        if (needed)
            return shape;
        template_shape_free(shape);
    }
    return NULL;
}

static void
begin(struct template_builder *b)
{
    struct vmt_err err = {0};

    if (somebody_boots(b->c)) {
        arm(b, DELAY_MS);
        return;
    }
    b->shape = next_shape(b);
    if (!b->shape) {
        go_idle(b);
        return;
    }
    b->begun_ms = b->progress_ms = now_ms(b);
    b->console_bytes = 0;
    b->control = b->held = false;
    b->step = BUILD_BOOT;
    if (launch(b, &err) < 0)
        fail(b, "%s", err.msg);
    else
        arm(b, TICK_MS);
}

static void
on_sync_deadline(struct template_builder *b)
{
    struct spawn *spawn = b->c->config.spawn;

    (void)spawn->ops->kill(b->sync, SIGKILL);
    spawn->ops->release(vmt_take_ptr(&b->sync));
    (void)snprintf(b->why, sizeof(b->why), "the disk took too long");
    finish(b);
}

static void
on_step_deadline(struct template_builder *b)
{
    fail(b, "its hypervisor does not answer");
}

static void
on_idle(struct template_builder *b)
{
    (void)b;
}

static void (*const on_time[])(struct template_builder *b) = {
    [BUILD_IDLE] = on_idle,          [BUILD_WAIT] = begin,
    [BUILD_BOOT] = watch_boot,       [BUILD_PAUSE] = on_step_deadline,
    [BUILD_SAVE] = on_step_deadline, [BUILD_END] = vm_over,
    [BUILD_SYNC] = on_sync_deadline,
};

static void
on_timer(void *arg)
{
    struct template_builder *b = arg;

    b->timer = NULL;
    on_time[b->step](b);
}

int
template_builder_new(struct concierge *c, struct template_builder **ret_builder,
                     struct vmt_err *err)
{
    struct template_builder *b = calloc(1, sizeof(*b));

    if (!b)
        return vmt_err_set(err, ENOMEM, "prepare for templates");
    b->c = c;
    b->state_fd = -1;
    vmt_list_init(&b->queue);
    *ret_builder = b;
    return 0;
}

void
template_builder_stop(struct template_builder *b)
{
    struct hypervisor *hv = b->c->config.hypervisor;
    struct spawn *spawn = b->c->config.spawn;
    struct host *host = b->c->config.host;

    b->stopped = true;
    disarm(b);
    if (b->hv)
        (void)hv->ops->kill(b->hv, SIGKILL);
    release_vm(b);
    if (b->sync)
        spawn->ops->release(vmt_take_ptr(&b->sync));
    host->state->drop(host, vmt_take_fd(&b->state_fd));
    template_shape_free(vmt_take_ptr(&b->shape));
    VMT_LIST_FOREACH(at, following, &b->queue)
    template_shape_free(VMT_CONTAINER_OF(at, struct template_shape, node));
    b->step = BUILD_IDLE;
}

void
template_builder_free(struct template_builder *b)
{
    if (!b)
        return;
    template_builder_stop(b);
    free(b);
}

static bool
is_known(const struct template_builder *b, const struct template_shape *shape)
{
    if (b->shape && strcmp(b->shape->key, shape->key) == 0)
        return true;
    VMT_LIST_FOREACH(at, following, &b->queue)
    if (strcmp(VMT_CONTAINER_OF(at, struct template_shape, node)->key, shape->key) == 0)
        return true;
    return false;
}

void
template_builder_add(struct template_builder *b, struct template_shape *shape)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, &b->queue)
    n++;
    if (b->stopped || n >= QUEUE_MAX || is_known(b, shape)) {
        template_shape_free(shape);
        return;
    }
    vmt_list_append(&b->queue, &shape->node);
    if (b->step != BUILD_IDLE)
        return;
    b->step = BUILD_WAIT;
    arm(b, DELAY_MS);
}

bool
template_builder_is_busy(const struct template_builder *b)
{
    return b->step != BUILD_IDLE;
}

void
template_builder_poke(struct template_builder *b)
{
    if (b->step == BUILD_BOOT)
        hold(b, somebody_boots(b->c));
}
