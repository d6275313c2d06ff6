/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"

struct fake_spawn {
    struct spawn base;
    struct vmt_clock *clock; /* borrowed */
    fake_spawn_start_fn *on_start;
    void *arg;            /* borrowed */
    struct vmt_list runs; /* struct spawn_child, owned */
    int32_t last_pid;
};

struct spawn_child {
    struct vmt_list node;
    struct fake_spawn *sp; /* borrowed */
    struct spawn_id id;
    spawn_exit_fn *on_exit; /* NULL: nobody watches */
    void *arg;              /* borrowed */
    struct vmt_timer *end;  /* the process is dead, on_exit is due */
    struct spawn_exit how;
    int last_signal;
    bool foreign; /* not our child: its status is unknown */
};

static struct fake_spawn *
self_of(const struct spawn *spawn)
{
    return VMT_CONTAINER_OF((struct spawn *)(uintptr_t)spawn, struct fake_spawn, base);
}

static struct spawn_child *
child_find(struct fake_spawn *sp, int32_t pid)
{
    VMT_LIST_FOREACH(node, next, &sp->runs)
    {
        struct spawn_child *child = VMT_CONTAINER_OF(node, struct spawn_child, node);

        if (child->id.pid == pid && !child->end)
            return child;
    }
    return NULL;
}

static struct spawn_child *
child_new(struct fake_spawn *sp)
{
    struct spawn_child *child = calloc(1, sizeof(*child));

    if (!child)
        return NULL;
    child->sp = sp;
    child->id.pid = ++sp->last_pid;
    child->id.start_time = (uint64_t)child->id.pid * 10;
    vmt_list_append(&sp->runs, &child->node);
    return child;
}

static void
child_free(struct spawn_child *child)
{
    child->sp->clock->ops->timer_cancel(child->sp->clock, child->end);
    vmt_list_remove(&child->node);
    free(child);
}

static void
child_on_end(void *arg)
{
    struct spawn_child *child = arg;
    spawn_exit_fn *fn = child->on_exit;
    void *fn_arg = child->arg;
    struct spawn_exit how = child->how;

    if (child->foreign)
        how = (struct spawn_exit){SPAWN_EXIT_UNKNOWN, 0};
    child->end = NULL;
    child_free(child);
    if (fn)
        fn(fn_arg, &how);
}

static int
child_end(struct spawn_child *child, enum spawn_exit_kind kind, int code)
{
    struct vmt_clock *clock = child->sp->clock;

    child->how = (struct spawn_exit){kind, code};
    return clock->ops->timer_start(clock, 0, child_on_end, child, &child->end);
}

static int
fake_start(struct spawn *base, const struct spawn_spec *spec,
           struct spawn_child **ret_child, struct vmt_err *err)
{
    struct fake_spawn *sp = self_of(base);
    struct spawn_child *child = child_new(sp);
    int r = 0;

    if (!child)
        return vmt_err_set(err, ENOMEM, "start %s", spec->argv[0]);
    child->on_exit = spec->on_exit;
    child->arg = spec->arg;
    if (sp->on_start)
        r = sp->on_start(sp->arg, spec, child->id.pid);
    if (r < 0) {
        child_free(child);
        return vmt_err_set(err, -r, "start %s", spec->argv[0]);
    }
    *ret_child = child;
    return 0;
}

static int
fake_adopt(struct spawn *base, const struct spawn_id *id, spawn_exit_fn *on_exit,
           void *arg, struct spawn_child **ret_child, struct vmt_err *err)
{
    struct spawn_child *child = child_find(self_of(base), id->pid);

    if (!child || child->id.start_time != id->start_time)
        return vmt_err_set(err, ESRCH, "adopt process %d", (int)id->pid);
    child->on_exit = on_exit;
    child->arg = arg;
    *ret_child = child;
    return 0;
}

static int
fake_kill(struct spawn_child *child, int sig)
{
    if (child->end)
        return -ESRCH;
    if (sig)
        child->last_signal = sig;
    return sig == SIGKILL ? child_end(child, SPAWN_EXIT_SIGNAL, SIGKILL) : 0;
}

static void
fake_id(const struct spawn_child *child, struct spawn_id *ret_id)
{
    *ret_id = child->id;
}

static void
fake_release(struct spawn_child *child)
{
    if (child)
        child->on_exit = NULL;
}

static const struct spawn_ops fake_spawn_ops = {
    .start = fake_start,
    .adopt = fake_adopt,
    .kill = fake_kill,
    .id = fake_id,
    .release = fake_release,
};

struct spawn *
fake_spawn_new(struct vmt_clock *clock)
{
    struct fake_spawn *sp = calloc(1, sizeof(*sp));

    if (!sp)
        return NULL;
    sp->base.ops = &fake_spawn_ops;
    sp->clock = clock;
    sp->last_pid = 999;
    vmt_list_init(&sp->runs);
    return &sp->base;
}

void
fake_spawn_free(struct spawn *spawn)
{
    struct fake_spawn *sp;

    if (!spawn)
        return;
    sp = self_of(spawn);
    VMT_LIST_FOREACH(node, next, &sp->runs)
    child_free(VMT_CONTAINER_OF(node, struct spawn_child, node));
    free(sp);
}

void
fake_spawn_on_start(struct spawn *spawn, fake_spawn_start_fn *on_start, void *arg)
{
    self_of(spawn)->on_start = on_start;
    self_of(spawn)->arg = arg;
}

int
fake_spawn_exit(struct spawn *spawn, int32_t pid, enum spawn_exit_kind kind, int code)
{
    struct spawn_child *child = child_find(self_of(spawn), pid);

    return child ? child_end(child, kind, code) : -ESRCH;
}

int
fake_spawn_plant(struct spawn *spawn, struct spawn_id *ret_id)
{
    struct spawn_child *child = child_new(self_of(spawn));

    if (!child)
        return -ENOMEM;
    child->foreign = true;
    *ret_id = child->id;
    return 0;
}

size_t
fake_spawn_running(const struct spawn *spawn)
{
    struct fake_spawn *sp = self_of(spawn);
    size_t n = 0;

    VMT_LIST_FOREACH(node, next, &sp->runs)
    n += VMT_CONTAINER_OF(node, struct spawn_child, node)->end == NULL;
    return n;
}

int
fake_spawn_last_signal(const struct spawn *spawn, int32_t pid)
{
    struct spawn_child *child = child_find(self_of(spawn), pid);

    return child ? child->last_signal : -ESRCH;
}
