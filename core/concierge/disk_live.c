/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_live.c - resize the disk of a running VM: hypervisor and guest in
 * the order of core/disk/resize.h. Every step may be done again, so a daemon that takes
 * over repeats the one that it finds. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_live_internal.h"
#include "core/disk/resize.h"
#include "vm_guest.pb-c.h"
#include "vmt_state.pb-c.h"

#define POLL_MS 1000u
/* As long as the guest says that it is at it, it is waited for; a guest that does not
 * answer is given up after that, and one that never ends, too. */
#define SILENCE_MS 60000u
#define WAIT_MAX_MS (60u * 60 * 1000)

#define S(name) DISK_RESIZE_##name
#define EV(name) DISK_RESIZE_EV_##name

struct disk_live {
    struct disk_job *job; /* borrowed */
    struct vm_id vm;
    char file[DISK_FILE_MAX];
    char serial[PLAN_SERIAL_MAX];
    uint64_t old_size, new_size;
    enum disk_resize_state state;
    struct vm_agent agent;       /* a connection of its own */
    struct vmt_timer *timer;     /* owned: the next step or look */
    uint64_t began_ms, heard_ms; /* of the wait for the guest */
    struct disk_token *token;    /* borrowed: the hypervisor is at it */
    bool in_progress;            /* what GetResizeStatus said last */
    uint64_t current_size;
    bool unsure;   /* the guest may have begun without our knowing how far it got */
    int fs_status; /* what ResizeFilesystem said: VmTools__ResizeFilesystemResponse */
    char guest_why[256]; /* what GetResizeStatus said about a failure */
    char why[DISK_FAILURE_MAX];
};

/* What a hypervisor that is asked gives back: its answer may come after the resize was
 * given up. */
struct disk_token {
    struct vmt_list node;
    struct disk_live *live; /* borrowed; NULL: nobody waits */
};

static void enter(struct disk_live *live);
static void forget_token(struct disk_live *live);

static struct vmt_clock *
clock_of(const struct disk_live *live)
{
    return live->job->c->config.clock;
}

static struct concierge_vm *
vm_of(const struct disk_live *live)
{
    return vm_find(live->job->c, live->vm.owner, live->vm.name);
}

void
disk_live_free(struct disk_live *live)
{
    if (!live)
        return;
    clock_of(live)->ops->timer_cancel(clock_of(live), live->timer);
    vm_agent_close(&live->agent);
    forget_token(live);
    free(live);
}

static void on_timer(void *arg);

/* From the loop: no callback of the agent or hypervisor is on the stack then. */
static void
arm(struct disk_live *live, uint64_t ms)
{
    clock_of(live)->ops->timer_cancel(clock_of(live), vmt_take_ptr(&live->timer));
    if (clock_of(live)->ops->timer_start(clock_of(live), ms, on_timer, live,
                                         &live->timer) < 0)
        vmt_log_error("no memory to go on with a resize operation=%s",
                      live->job->op.uuid);
}

__attribute__((format(printf, 2, 3))) static void
blame(struct disk_live *live, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (!live->why[0])
        (void)vsnprintf(live->why, sizeof(live->why), fmt, ap);
    va_end(ap);
}

/* The one place that assigns state. */
static void
post(struct disk_live *live, enum disk_resize_event event)
{
    enum disk_resize_state next = disk_resize_next(live->state, event);
    struct vmt_err err = {0};

    if (next == S(NONE))
        return;
    vmt_log_info("resize %s -> %s operation=%s", disk_resize_state_name(live->state),
                 disk_resize_state_name(next), live->job->op.uuid);
    live->state = next;
    live->began_ms = live->heard_ms = clock_of(live)->ops->now_ms(clock_of(live));
    if (disk_record_save(live->job, &err) < 0)
        vmt_log_warning("the step of a resize is not remembered: %s", err.msg);
    arm(live, 0);
}

void
disk_tokens_free(struct concierge *c)
{
    VMT_LIST_FOREACH(at, following, &c->disks.tokens)
    {
        vmt_list_remove(at);
        free(VMT_CONTAINER_OF(at, struct disk_token, node));
    }
}

static void
finish(struct disk_live *live)
{
    struct disk_job *job = live->job;
    struct host *host = job->c->config.host;
    bool ok = live->state == S(DONE);
    struct vmt_err err = {0};
    char why[DISK_FAILURE_MAX];

    if (ok && host->disks->set_user_chosen(host, job->op.id.owner, live->file, &err) < 0)
        vmt_log_warning("the chosen size is not remembered: %s", err.msg);
    (void)snprintf(why, sizeof(why), "%s", live->why);
    job->live = NULL;
    disk_live_free(live);
    disk_job_end(job, ok ? DISK_RESULT_OK : DISK_RESULT_FAILED, why);
}

static void
on_timer(void *arg)
{
    struct disk_live *live = arg;

    live->timer = NULL;
    if (live->state == S(DONE) || live->state == S(FAILED)) {
        finish(live);
        return;
    }
    if (live->token) {
        forget_token(live);
        blame(live, "the hypervisor does not answer");
        post(live, EV(FAILED));
        return;
    }
    enter(live);
}

static void
on_disk_resized(void *arg, int result, const struct vmt_err *err)
{
    struct disk_token *token = arg;
    struct disk_live *live = token->live;

    vmt_list_remove(&token->node);
    free(token);
    if (!live)
        return;
    live->token = NULL;
    if (result < 0)
        blame(live, "the hypervisor did not resize the disk: %s", vmt_err_text(err));
    post(live, result < 0 ? EV(FAILED) : EV(OK));
}

static void
forget_token(struct disk_live *live)
{
    if (live->token)
        live->token->live = NULL;
    live->token = NULL;
}

/* NULL without memory. */
static struct disk_token *
new_token(struct disk_live *live)
{
    struct disk_token *token = calloc(1, sizeof(*token));

    if (!token)
        return NULL;
    token->live = live;
    live->token = token;
    vmt_list_append(&live->job->c->disks.tokens, &token->node);
    return token;
}

static int
call_hypervisor(struct disk_live *live, uint64_t size)
{
    struct hypervisor *hv = live->job->c->config.hypervisor;
    struct concierge_vm *vm = vm_of(live);
    struct disk_token *token;
    int r;

    if (!vm || !vm->hv || vm->state != VM_RUNNING)
        return -ESRCH;
    token = new_token(live);
    if (!token)
        return -ENOMEM;
    r = hv->ops->disk_resize(vm->hv, live->serial, size, on_disk_resized, token);
    if (r == 0)
        return 0;
    forget_token(live);
    vmt_list_remove(&token->node);
    free(token);
    return r;
}

/* A daemon that has just taken the VM over is not connected to its hypervisor yet. */
static void
resize_disk(struct disk_live *live, uint64_t size)
{
    uint64_t now = clock_of(live)->ops->now_ms(clock_of(live));
    int r = call_hypervisor(live, size);

    if (r == 0) {
        arm(live, SILENCE_MS);
        return;
    }
    if (r == -ENOTCONN && now - live->began_ms < SILENCE_MS) {
        arm(live, POLL_MS);
        return;
    }
    blame(live,
          r == -ESRCH ? "the VM ended meanwhile%s"
                      : "the hypervisor cannot resize the disk: %s",
          r == -ESRCH ? "" : strerror(-r));
    post(live, EV(FAILED));
}

static void
on_message(void *arg, const ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    struct disk_live *live = arg;

    (void)fds;
    (void)nfds;
    if (reply->descriptor == &vm_tools__resize_filesystem_response__descriptor) {
        live->fs_status = (int)((const VmTools__ResizeFilesystemResponse *)reply)->status;
    } else {
        const VmTools__GetResizeStatusResponse *s =
            (const VmTools__GetResizeStatusResponse *)reply;

        live->in_progress = s->resize_in_progress;
        live->current_size = s->current_size;
        (void)vmt_log_escape(live->guest_why, sizeof(live->guest_why), s->failure_reason,
                             strlen(s->failure_reason));
    }
}

/* A guest that is busy or just starts its agent again may answer later. */
static void
guest_silent(struct disk_live *live, const char *why)
{
    uint64_t now = clock_of(live)->ops->now_ms(clock_of(live));
    struct concierge_vm *vm = vm_of(live);

    live->unsure = true;
    if (vm && vm->state == VM_RUNNING && now - live->heard_ms < SILENCE_MS) {
        arm(live, POLL_MS);
        return;
    }
    blame(live, "the guest does not answer: %s", why);
    post(live, EV(UNSURE));
}

static bool
is_silence(const struct rpc_status *status)
{
    return status->code == RPC_UNAVAILABLE || status->code == RPC_DEADLINE_EXCEEDED;
}

static void
blame_guest(struct disk_live *live, const struct rpc_status *status)
{
    char text[RPC_MESSAGE_TEXT_MAX];

    (void)vmt_log_escape(text, sizeof(text), status->text, strlen(status->text));
    blame(live, "the guest did not resize its file system: %s%s%.300s",
          rpc_code_name(status->code), *text ? ": " : "", text);
}

static void
on_fs_asked(void *arg, const struct rpc_status *status)
{
    struct disk_live *live = arg;

    if (is_silence(status)) {
        guest_silent(live, rpc_code_name(status->code));
    } else if (status->code != RPC_OK) {
        blame_guest(live, status);
        post(live, live->unsure ? EV(UNSURE) : EV(FAILED));
    } else if (live->fs_status ==
               VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__RESIZE_STATUS__STARTED) {
        post(live, EV(STARTED));
    } else {
        /* Somebody else's is going on, or ours of before a restart: its end tells. */
        bool busy =
            live->fs_status ==
            VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__RESIZE_STATUS__ALREADY_IN_PROGRESS;

        if (!busy)
            blame(live, "the guest failed to resize its file system");
        post(live, busy ? EV(STARTED) : live->unsure ? EV(UNSURE) : EV(FAILED));
    }
}

static uint64_t
wanted_size(const struct disk_live *live)
{
    return live->state == S(SHRINK_UNDO) ? live->old_size : live->new_size;
}

/* What GetResizeStatus told last counts, unless the guest is still at it. */
static enum disk_resize_event
result_of(const struct disk_live *live)
{
    if (live->in_progress)
        return EV(UNSURE);
    if (live->current_size == wanted_size(live))
        return EV(OK);
    return live->current_size > live->old_size ? EV(UNSURE) : EV(FAILED);
}

static void
on_looked(void *arg, const struct rpc_status *status)
{
    struct disk_live *live = arg;
    uint64_t now = clock_of(live)->ops->now_ms(clock_of(live));

    if (is_silence(status)) {
        guest_silent(live, rpc_code_name(status->code));
        return;
    }
    if (status->code != RPC_OK) {
        blame_guest(live, status);
        post(live, EV(UNSURE));
        return;
    }
    live->heard_ms = now;
    if (live->in_progress && now - live->began_ms < WAIT_MAX_MS) {
        arm(live, POLL_MS);
        return;
    }
    if (live->in_progress)
        blame(live, "the guest did not come to an end within an hour");
    else if (live->current_size != wanted_size(live))
        blame(live, "the guest did not resize its file system: %s",
              live->guest_why[0] ? live->guest_why
                                 : "it has another size than it was to get");
    post(live, result_of(live));
}

static const struct rpc_client_handler fs_handler = {.on_message = on_message,
                                                     .on_done = on_fs_asked};
static const struct rpc_client_handler look_handler = {.on_message = on_message,
                                                       .on_done = on_looked};

static void
ask_fs(struct disk_live *live)
{
    VmTools__ResizeFilesystemRequest message = VM_TOOLS__RESIZE_FILESYSTEM_REQUEST__INIT;
    const struct rpc_client_request request = {
        .path = "/vm_tools.Maitred/ResizeFilesystem",
        .reply = &vm_tools__resize_filesystem_response__descriptor,
        .timeout_ms = AGENT_RPC_MS,
        .handler = &fs_handler,
        .arg = live,
    };
    struct vmt_err err = {0};

    live->fs_status = -1;
    message.size = wanted_size(live);
    message.serial = live->serial;
    if (vm_agent_call(&live->agent, &request, &message.base, &err) < 0)
        guest_silent(live, err.msg);
}

static void
look(struct disk_live *live)
{
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;
    const struct rpc_client_request request = {
        .path = "/vm_tools.Maitred/GetResizeStatus",
        .reply = &vm_tools__get_resize_status_response__descriptor,
        .timeout_ms = AGENT_RPC_MS,
        .handler = &look_handler,
        .arg = live,
    };
    struct vmt_err err = {0};

    if (vm_agent_call(&live->agent, &request, &message.base, &err) < 0)
        guest_silent(live, err.msg);
}

static void
on_open(void *arg, const struct vmt_err *err)
{
    struct disk_live *live = arg;

    if (err)
        guest_silent(live, err->msg);
    else
        enter(live);
}

/* Steps of the guest need the connection first. */
static void
with_agent(struct disk_live *live, void (*step)(struct disk_live *live))
{
    struct concierge_vm *vm = vm_of(live);
    struct vmt_err err = {0};

    if (vm_agent_is_open(&live->agent)) {
        step(live);
        return;
    }
    if (!vm || vm->state != VM_RUNNING) {
        blame(live, "the VM ended meanwhile");
        post(live, EV(FAILED));
        return;
    }
    live->agent.transport = vm->agent.transport;
    live->agent.cid = vm->cid;
    if (vm_agent_open(&live->agent, AGENT_CONNECT_MS, on_open, live, &err) < 0)
        guest_silent(live, err.msg);
}

static void
grow_disk(struct disk_live *live)
{
    resize_disk(live, live->new_size);
}

static void
grow_undo(struct disk_live *live)
{
    resize_disk(live, live->old_size);
}

static void
fs_step(struct disk_live *live)
{
    with_agent(live, ask_fs);
}

static void
wait_step(struct disk_live *live)
{
    with_agent(live, look);
}

static void (*const entries[DISK_RESIZE_STATE_COUNT])(struct disk_live *live) = {
    [S(GROW_DISK)] = grow_disk,   [S(GROW_FS)] = fs_step,
    [S(GROW_WAIT)] = wait_step,   [S(GROW_UNDO)] = grow_undo,
    [S(SHRINK_FS)] = fs_step,     [S(SHRINK_WAIT)] = wait_step,
    [S(SHRINK_DISK)] = grow_disk, [S(SHRINK_UNDO)] = fs_step,
};

/* Also again, after a while without an answer. */
static void
enter(struct disk_live *live)
{
    disk_job_advance(live->job, disk_resize_percent(live->state));
    entries[live->state](live);
}

static int
live_new(struct disk_job *job, const struct vm_id *vm, const struct disk_live_plan *plan)
{
    struct disk_live *live = calloc(1, sizeof(*live));

    if (!live)
        return -ENOMEM;
    live->job = job;
    live->vm = *vm;
    (void)snprintf(live->file, sizeof(live->file), "%s", plan->file);
    (void)snprintf(live->serial, sizeof(live->serial), "%s", plan->serial);
    live->agent.clock = clock_of(live);
    live->old_size = plan->old_size;
    live->new_size = plan->new_size;
    live->state = plan->new_size > plan->old_size ? S(GROW_DISK) : S(SHRINK_FS);
    live->began_ms = live->heard_ms = clock_of(live)->ops->now_ms(clock_of(live));
    job->live = live;
    return 0;
}

int
disk_live_start(struct disk_job *job, const struct vm_id *vm,
                const struct disk_live_plan *plan, struct vmt_err *err)
{
    int r;

    if (live_new(job, vm, plan) < 0)
        return vmt_err_set(err, ENOMEM, "resize a disk");
    r = disk_record_save(job, err);
    if (r < 0)
        return r;
    arm(job->live, 0);
    return 0;
}

void
disk_live_to_record(struct disk_live *live, Vmt__DiskOperationRecord *record)
{
    if (!live)
        return;
    record->resize_state = (int32_t)live->state;
    record->old_size = live->old_size;
    record->new_size = live->new_size;
    record->file = live->file;
    record->serial = live->serial;
    record->vm_name = live->vm.name;
    record->failure = live->why;
}

void
disk_live_restore(struct disk_job *job, const Vmt__DiskOperationRecord *record)
{
    const struct disk_live_plan plan = {
        .file = record->file,
        .serial = record->serial,
        .old_size = record->old_size,
        .new_size = record->new_size,
    };
    bool sane =
        record->resize_state > 0 && record->resize_state < DISK_RESIZE_STATE_COUNT;
    struct vm_id vm;

    if (!sane || vm_id_set(&vm, record->owner_id, record->vm_name, NULL) < 0 ||
        live_new(job, &vm, &plan) < 0) {
        disk_job_end(job, DISK_RESULT_FAILED, "its record is damaged");
        return;
    }
    job->live->state = (enum disk_resize_state)record->resize_state;
    job->live->unsure = true;
    (void)snprintf(job->live->why, sizeof(job->live->why), "%s", record->failure);
    vmt_log_notice("resize taken over, %s operation=%s",
                   disk_resize_state_name(job->live->state), job->op.uuid);
    arm(job->live, 0);
}
