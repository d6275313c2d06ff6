/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/table.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <event2/event.h>

#include "core/adapter/clock.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/proc/exec.h"
#include "platform/guest/maitred/proc/extra.h"
#include "platform/guest/maitred/proc/group.h"
#include "platform/guest/maitred/proc/leftovers.h"
#include "platform/guest/maitred/proc/table_internal.h"

/* A frozen table tries again after so long. */
#define FROZEN_RETRY_MS 100u
/* Children that are reaped in one turn of the loop. */
#define REAP_MAX 256

static bool
group_is_used(const struct proc_table *table, const char *name)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        const struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);

        if (p->cgroup >= 0 && strcmp(p->extra->cgroup, name) == 0)
            return true;
    }
    return false;
}

/* p is in no list any more. */
static void
drop_group(struct proc *p)
{
    struct proc_table *t = p->table;

    if (t->on_group_over)
        t->on_group_over(t->group_arg, p->extra->cgroup, p->cgroup, &p->note);
    if (!group_is_used(t, p->extra->cgroup) &&
        group_remove(t->cgroups, p->extra->cgroup) == -EBUSY)
        leftovers_add(&t->leftovers, p->extra->cgroup);
}

/* Exec is decided, or not waited for any more. */
static void
drop_child(struct proc *p)
{
    if (!p->decided)
        return;
    event_free(p->decided);
    p->decided = NULL;
    exec_child_done(&p->child);
    p->table->starting--;
}

static void
proc_free(struct proc *p)
{
    if (!p)
        return;
    if (p->node.next) {
        vmt_list_remove(&p->node);
        p->table->n--;
    }
    if (p->abandoned)
        p->table->abandoned--;
    drop_child(p);
    p->table->clock->ops->timer_cancel(p->table->clock, p->timer);
    if (p->cgroup >= 0)
        drop_group(p);
    vmt_closep(&p->cgroup);
    proc_extra_free(p->extra);
    vmt_argv_done(&p->argv);
    vmt_argv_done(&p->env);
    free(p);
}
VMT_DEFINE_FREEP(struct proc, proc_free)

void
proc_table_init(struct proc_table *table, struct vmt_clock *clock,
                struct event_base *base)
{
    *table =
        (struct proc_table){.clock = clock, .base = base, .cgroup = -1, .cgroups = -1};
    vmt_list_init(&table->procs);
    leftovers_init(&table->leftovers);
}

void
proc_table_done(struct proc_table *table)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    proc_free(VMT_CONTAINER_OF(at, struct proc, node));
    leftovers_done(&table->leftovers);
    table->clock->ops->timer_cancel(table->clock, table->more);
    table->more = NULL;
}

static void
degraded(const struct proc *p, const struct vmt_err *err)
{
    vmt_log_error("%s: %s", p->argv.v[0], err->msg);
    if (p->table->on_degraded)
        p->table->on_degraded(p->table->arg, p->argv.v[0], err->msg);
}

static bool
wants_group(const struct proc_extra *x)
{
    const struct group_limits *l = &x->limits;

    return l->memory_max || l->memory_high || l->pids_max || l->cpu_weight ||
           l->oom_group || x->kill_children;
}

/* Where another init has the control groups. */
static void
tell_no_group(struct proc *p)
{
    struct vmt_err err;

    if (p->lacks_group || !wants_group(p->extra))
        return;
    p->lacks_group = true;
    (void)vmt_err_setx(&err, EOPNOTSUPP,
                       "it runs without its limits and without kill_children: there are "
                       "no control groups of ours here");
    degraded(p, &err);
}

/* A program without its group or a limit is better than none. */
static void
proc_make_group(struct proc *p)
{
    struct vmt_err err;

    if (!p->extra || p->cgroup >= 0)
        return;
    if (p->table->cgroups < 0) {
        tell_no_group(p);
        return;
    }
    if (!*p->extra->cgroup)
        return;
    leftovers_forget(&p->table->leftovers, p->extra->cgroup);
    if (group_open(p->table->cgroups, p->extra->cgroup, &p->cgroup, &err) < 0 ||
        group_limit(p->table->cgroups, p->cgroup, &p->extra->limits, &err) < 0)
        degraded(p, &err);
}

static void on_decided(evutil_socket_t fd, short what, void *arg);

static int
watch_child(struct proc *p, struct vmt_err *err)
{
    p->decided = event_new(p->table->base, p->child.fd, EV_READ, on_decided, p);
    if (p->decided && event_add(p->decided, NULL) == 0) {
        p->table->starting++;
        p->pid = p->child.pid;
        return 0;
    }
    if (p->decided)
        event_free(p->decided);
    p->decided = NULL;
    (void)kill(p->child.pid, SIGKILL); /* reaped as nobody's */
    exec_child_done(&p->child);
    return vmt_err_set(err, ENOMEM, "start %s", p->argv.v[0]);
}

static int
proc_exec(struct proc *p, struct vmt_err *err)
{
    static const struct proc_extra nothing;
    const struct proc_extra *x = p->extra ? p->extra : &nothing;
    struct exec_spec spec = {
        .argv = p->argv.v,
        .env = p->env.v,
        .use_console = p->use_console,
        .own_terminal = p->own_terminal,
        .as = {.user = x->user,
               .group = x->group,
               .cwd = x->cwd,
               .rlimits = x->rlimits,
               .nrlimits = x->nrlimits,
               .oom_score_adj = x->oom_score_adj},
    };
    int r;

    respawn_started(&p->starts, p->table->clock->ops->now_ms(p->table->clock));
    proc_make_group(p);
    spec.cgroup = p->cgroup >= 0 ? p->cgroup : p->table->cgroup;
    r = exec_start(&spec, &p->child, err);
    return r < 0 ? r : watch_child(p, err);
}

static void proc_on_timer(void *arg);

static int
proc_start_in(struct proc *p, uint64_t delay_ms)
{
    struct vmt_clock *clock = p->table->clock;

    return clock->ops->timer_start(clock, delay_ms, proc_on_timer, p, &p->timer);
}

/* Start p again, now or later; give it up when it was started too often. */
static void
proc_restart(struct proc *p)
{
    struct proc_table *t = p->table;
    uint64_t delay_ms;

    if (t->stopped) {
        proc_free(p);
        return;
    }
    if (!respawn_next(&p->starts, t->clock->ops->now_ms(t->clock), &delay_ms)) {
        vmt_log_error("%s ended %d times in %u s and is not started again", p->argv.v[0],
                      RESPAWN_STARTS_MAX, RESPAWN_WINDOW_MS / 1000);
        if (t->on_given_up)
            t->on_given_up(t->arg, p->argv.v[0]);
        proc_free(p);
        return;
    }
    p->pid = 0;
    if (proc_start_in(p, delay_ms) < 0) {
        vmt_log_error("%s is not started again: no memory", p->argv.v[0]);
        proc_free(p);
    }
}

static void
proc_on_timer(void *arg)
{
    struct proc *p = arg;
    struct vmt_err err;

    p->timer = NULL;
    if (p->table->frozen && proc_start_in(p, FROZEN_RETRY_MS) == 0)
        return;
    if (!p->table->stopped && proc_exec(p, &err) == 0)
        return;
    if (!p->table->stopped)
        vmt_log_error("respawn failed: %s", err.msg);
    proc_restart(p);
}

/* A program that cannot be there is not waited for. */
static bool
is_hopeless(const struct proc *p, int r)
{
    return !p->respawn || r == -ENOENT || r == -EACCES;
}

static void
proc_runs(struct proc *p)
{
    proc_start_fn *fn = p->on_start;

    if (p->is_told)
        vmt_log_notice("%s was started again pid=%d", p->argv.v[0], (int)p->pid);
    p->is_told = true;
    p->on_start = NULL;
    if (fn)
        fn(p->arg, 0, NULL);
}

/* Exec failed, and the child is gone. */
static void
proc_failed(struct proc *p, int r, const struct vmt_err *err)
{
    proc_start_fn *fn = p->on_start;
    bool is_first = !p->is_told;
    void *arg = p->arg;

    p->is_told = true;
    p->on_start = NULL;
    if (!is_first)
        vmt_log_error("respawn failed: %s", err->msg);
    else if (!fn)
        vmt_log_warning("%s", err->msg);
    if (is_first && is_hopeless(p, r))
        proc_free(p);
    else
        proc_restart(p);
    if (fn)
        fn(arg, r, err);
}

/* A child that failed is about to end, which says it all. */
static void
on_decided(evutil_socket_t fd, short what, void *arg)
{
    struct proc *p = arg;

    (void)fd;
    (void)what;
    if (exec_result(&p->child, p->argv.v[0], NULL) < 0)
        return;
    drop_child(p);
    proc_runs(p);
}

static bool
is_failure(const struct proc_exit *how)
{
    return how->kind == PROC_SIGNALED || how->code != 0;
}

static void
log_exit(const struct proc *p, const struct proc_exit *how)
{
    if (p->argv.n == 0) /* a worker: who started it reports */
        return;
    vmt_log(p->respawn && is_failure(how) ? VMT_LOG_WARNING : VMT_LOG_INFO,
            "%s ended: %s %d pid=%d", p->argv.v[0],
            how->kind == PROC_EXITED ? "status" : "signal", how->code, (int)p->pid);
}

static void
proc_ended(struct proc *p, const struct proc_exit *how)
{
    proc_exit_fn *fn = p->on_exit;
    void *arg = p->arg;

    log_exit(p, how);
    if (p->extra && p->extra->respawn_on_failure && !is_failure(how))
        p->respawn = false;
    if (p->respawn) {
        if (p->extra && p->extra->kill_children && p->cgroup >= 0)
            (void)group_kill(p->cgroup);
        if (p->table->on_failed && is_failure(how))
            p->table->on_failed(p->table->arg, p->argv.v[0]);
        proc_restart(p);
        return;
    }
    proc_free(p);
    if (fn)
        fn(arg, how);
}

/* The process of p was reaped. */
static void
proc_reaped(struct proc *p, const struct proc_exit *how)
{
    struct vmt_err err;
    int r;

    if (p->decided) {
        r = exec_result(&p->child, p->argv.v[0], &err);
        drop_child(p);
        if (r < 0) {
            proc_failed(p, r, &err);
            return;
        }
        proc_runs(p);
    }
    proc_ended(p, how);
}

/* Returns whether there was one. */
static bool
reap_one(struct proc_table *table)
{
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
    struct proc_exit how;
    struct proc *p;

    if (pid <= 0)
        return false;
    how = (struct proc_exit){.kind = PROC_EXITED, .code = WEXITSTATUS(status)};
    if (WIFSIGNALED(status))
        how = (struct proc_exit){.kind = PROC_SIGNALED, .code = WTERMSIG(status)};
    p = table_find(table, pid);
    if (p)
        proc_reaped(p, &how);
    return true;
}

static void
on_more(void *arg)
{
    struct proc_table *table = arg;

    table->more = NULL;
    proc_table_reap(table);
}

/* Orphans are reaped without a word: a shell with many children would flood the log. */
void
proc_table_reap(struct proc_table *table)
{
    unsigned n = 0;

    while (n < REAP_MAX && reap_one(table))
        n++;
    leftovers_remove(&table->leftovers, table->cgroups);
    if (n == REAP_MAX && !table->more)
        (void)table->clock->ops->timer_start(table->clock, 0, on_more, table,
                                             &table->more);
}

void
proc_table_stop(struct proc_table *table)
{
    table->stopped = true;
    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);

        p->respawn = false;
        if (p->pid == 0)
            proc_free(p);
    }
}

static int
check_room(const struct proc_table *table, struct vmt_err *err)
{
    if (table->stopped)
        return vmt_err_setx(err, ESHUTDOWN, "the system is going down");
    if (table->frozen)
        return vmt_err_setx(err, EAGAIN, "the programs of this VM are frozen");
    if (table->n >= PROC_MAX)
        return vmt_err_setx(err, EAGAIN, "%d processes are running already", PROC_MAX);
    if (table->starting >= PROC_STARTING_MAX)
        return vmt_err_setx(err, EAGAIN, "%d programs wait for a disk already",
                            PROC_STARTING_MAX);
    return 0;
}

static struct proc *
proc_new(struct proc_table *table, const struct proc_spec *spec)
{
    VMT_CLEANUP(proc_freep) struct proc *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    *p = (struct proc){.table = table,
                       .respawn = spec->respawn,
                       .use_console = spec->use_console,
                       .own_terminal = spec->own_terminal,
                       .on_start = spec->on_start,
                       .on_exit = spec->on_exit,
                       .arg = spec->arg,
                       .cgroup = -1};
    for (size_t i = 0; spec->argv && spec->argv[i]; i++)
        vmt_argv_add(&p->argv, spec->argv[i]);
    for (size_t i = 0; spec->env && spec->env[i]; i++)
        vmt_argv_add(&p->env, spec->env[i]);
    if (vmt_argv_finish(&p->argv, NULL) < 0 || vmt_argv_finish(&p->env, NULL) < 0)
        return NULL;
    return vmt_take_ptr(&p);
}

static struct proc *
table_add(struct proc_table *table, struct proc *p)
{
    vmt_list_append(&table->procs, &p->node);
    table->n++;
    return p;
}

int
proc_start(struct proc_table *table, const struct proc_spec *spec, struct proc **ret_proc,
           struct vmt_err *err)
{
    VMT_CLEANUP(proc_freep) struct proc *p = NULL;
    struct proc *added;
    int r = check_room(table, err);

    if (r == 0)
        p = proc_new(table, spec);
    if (!p) {
        proc_extra_free(spec->extra);
        return r < 0 ? r : vmt_err_set(err, ENOMEM, "start a process");
    }
    p->extra = spec->extra;
    r = proc_exec(p, err);
    if (r < 0)
        return r;
    added = table_add(table, vmt_take_ptr(&p));
    if (ret_proc)
        *ret_proc = added;
    return 0;
}

int
proc_watch(struct proc_table *table, pid_t pid, proc_exit_fn *on_exit, void *arg,
           struct proc **ret_proc, struct vmt_err *err)
{
    const struct proc_spec spec = {.on_exit = on_exit, .arg = arg};
    struct proc *p = proc_new(table, &spec);

    if (!p)
        return vmt_err_set(err, ENOMEM, "watch a process");
    p->pid = pid;
    *ret_proc = table_add(table, p);
    return 0;
}

void
proc_forget(struct proc *proc)
{
    if (!proc)
        return;
    proc->on_start = NULL;
    proc->on_exit = NULL;
}

void
proc_abandon(struct proc *proc)
{
    proc_forget(proc);
    proc->table->abandoned += !proc->abandoned;
    proc->abandoned = true;
}

void
proc_stop(struct proc *p, int sig, bool whole_group)
{
    p->respawn = false;
    if (whole_group && p->cgroup >= 0)
        (void)group_kill(p->cgroup);
    else if (p->pid > 0)
        (void)kill(p->pid, sig);
    if (p->pid == 0)
        proc_free(p);
}
