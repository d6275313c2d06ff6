/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/table.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/adapter/clock.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/proc/exec.h"
#include "platform/guest/maitred/proc/extra.h"
#include "platform/guest/maitred/proc/group.h"
#include "platform/guest/maitred/proc/login.h"
#include "platform/guest/maitred/proc/respawn.h"

/* A frozen table tries again after so long. */
#define FROZEN_RETRY_MS 100u

struct proc {
    struct vmt_list node;
    struct proc_table *table; /* borrowed */
    pid_t pid;                /* 0: waits for its respawn */
    struct vmt_argv argv;     /* owned; empty for a watched child */
    struct vmt_argv env;      /* owned */
    bool respawn, use_console, own_terminal;
    bool abandoned;
    struct respawn starts;
    struct vmt_timer *timer;  /* owned by the clock */
    proc_exit_fn *on_exit;    /* NULL: forgotten, or nobody asked */
    void *arg;                /* borrowed */
    struct proc_extra *extra; /* owned; NULL: nothing special */
    int cgroup;               /* owned: a group of its own; -1: none */
    uint64_t note;            /* see proc_table_each_group */
};

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
    p->table->clock->ops->timer_cancel(p->table->clock, p->timer);
    if (p->cgroup >= 0) {
        if (p->table->on_group_over)
            p->table->on_group_over(p->table->group_arg, p->extra->cgroup, p->cgroup,
                                    &p->note);
        group_remove(p->table->cgroups, p->extra->cgroup);
    }
    vmt_closep(&p->cgroup);
    proc_extra_free(p->extra);
    vmt_argv_done(&p->argv);
    vmt_argv_done(&p->env);
    free(p);
}
VMT_DEFINE_FREEP(struct proc, proc_free)

void
proc_table_init(struct proc_table *table, struct vmt_clock *clock)
{
    *table = (struct proc_table){.clock = clock, .cgroup = -1, .cgroups = -1};
    vmt_list_init(&table->procs);
}

void
proc_table_done(struct proc_table *table)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    proc_free(VMT_CONTAINER_OF(at, struct proc, node));
}

static void
degraded(const struct proc *p, const struct vmt_err *err)
{
    vmt_log_error("%s: %s", p->argv.v[0], err->msg);
    if (p->table->on_degraded)
        p->table->on_degraded(p->table->arg, p->argv.v[0], err->msg);
}

/* A program without its group or a limit is better than none. */
static void
proc_make_group(struct proc *p)
{
    struct vmt_err err;

    if (!p->extra || !*p->extra->cgroup || p->cgroup >= 0 || p->table->cgroups < 0)
        return;
    if (group_open(p->table->cgroups, p->extra->cgroup, &p->cgroup, &err) < 0 ||
        group_limit(p->table->cgroups, p->cgroup, &p->extra->limits, &err) < 0)
        degraded(p, &err);
}

static bool
has_variable(const struct vmt_argv *env, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < env->n; i++)
        if (strncmp(env->v[i], name, len) == 0 && env->v[i][len] == '=')
            return true;
    return false;
}

/* What login(1) sets, unless it was given. Returns 0 or -ENOMEM. */
static int
add_login_env(const struct proc *p, const struct login *l, struct vmt_argv *env)
{
    for (size_t i = 0; i < p->env.n; i++)
        vmt_argv_add(env, p->env.v[i]);
    if (l && *l->name) {
        const char *const rows[][2] = {
            {"HOME", *l->home ? l->home : "/"},
            {"USER", l->name},
            {"LOGNAME", l->name},
            {"SHELL", *l->shell ? l->shell : "/bin/sh"},
        };

        for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++)
            if (!has_variable(&p->env, rows[i][0]))
                vmt_argv_addf(env, "%s=%s", rows[i][0], rows[i][1]);
    }
    return vmt_argv_finish(env, NULL);
}

static int
proc_exec_as(struct proc *p, const struct login *login, struct vmt_err *err)
{
    static const struct proc_extra nothing;
    const struct proc_extra *x = p->extra ? p->extra : &nothing;
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv pairs = {0};
    int r = add_login_env(p, login, &pairs);
    VMT_CLEANUP(vmt_freep) char **env = r < 0 ? NULL : exec_env(pairs.v);
    const struct exec_spec spec = {
        .argv = p->argv.v,
        .env = env,
        .use_console = p->use_console,
        .own_terminal = p->own_terminal,
        .cgroup = p->cgroup >= 0 ? p->cgroup : p->table->cgroup,
        .as = {.login = login,
               .cwd = x->cwd,
               .rlimits = x->rlimits,
               .nrlimits = x->nrlimits,
               .oom_score_adj = x->oom_score_adj},
    };

    if (!env)
        return vmt_err_set(err, ENOMEM, "start %s", p->argv.v[0]);
    return exec_start(&spec, &p->pid, err);
}

static int
proc_exec(struct proc *p, struct vmt_err *err)
{
    const struct proc_extra *x = p->extra;
    struct login login;
    int r;

    respawn_started(&p->starts, p->table->clock->ops->now_ms(p->table->clock));
    if (!x || (!x->user && !x->group)) {
        proc_make_group(p);
        return proc_exec_as(p, NULL, err);
    }
    r = login_find(x->user ? x->user : "", x->group ? x->group : "", &login, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "start %s", p->argv.v[0]);
    proc_make_group(p);
    return proc_exec_as(p, &login, err);
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
    if (!p->table->stopped && proc_exec(p, &err) == 0) {
        vmt_log_notice("%s was started again pid=%d", p->argv.v[0], (int)p->pid);
        return;
    }
    if (!p->table->stopped)
        vmt_log_error("respawn failed: %s", err.msg);
    proc_restart(p);
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

static struct proc *
table_find(struct proc_table *table, pid_t pid)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);

        if (p->pid == pid)
            return p;
    }
    return NULL;
}

/* Orphans are reaped without a word: a shell with many children would flood the log. */
void
proc_table_reap(struct proc_table *table)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        struct proc *p = table_find(table, pid);
        struct proc_exit how = {.kind = PROC_EXITED, .code = WEXITSTATUS(status)};

        if (WIFSIGNALED(status))
            how = (struct proc_exit){.kind = PROC_SIGNALED, .code = WTERMSIG(status)};
        if (p)
            proc_ended(p, &how);
    }
}

bool
proc_table_has(struct proc_table *table, const char *program)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        const struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);

        if (p->respawn && strcmp(p->argv.v[0], program) == 0)
            return true;
    }
    return false;
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

/* A program that cannot be there is not waited for. */
static bool
is_hopeless(const struct proc *p, int r)
{
    return !p->respawn || r == -ENOENT || r == -EACCES;
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
    if (r < 0 && is_hopeless(p, r))
        return r;
    added = table_add(table, vmt_take_ptr(&p));
    if (r < 0)
        proc_restart(added);
    else if (ret_proc)
        *ret_proc = added;
    return r;
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
    if (proc)
        proc->on_exit = NULL;
}

void
proc_abandon(struct proc *proc)
{
    proc_forget(proc);
    proc->table->abandoned += !proc->abandoned;
    proc->abandoned = true;
}

pid_t
proc_pid(const struct proc *proc)
{
    return proc->pid;
}

void
proc_table_each(struct proc_table *table,
                void (*fn)(void *arg, struct proc *proc, const struct proc_info *info),
                void *arg)
{
    uint64_t now = table->clock->ops->now_ms(table->clock);

    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);
        const struct proc_info info = {
            .name = p->argv.n ? p->argv.v[0] : "",
            .group = p->extra ? p->extra->cgroup : "",
            .pid = p->pid,
            .respawn = p->respawn,
            .starts = respawn_recent(&p->starts, now),
        };

        if (p->argv.n)
            fn(arg, p, &info);
    }
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

void
proc_table_each_group(struct proc_table *table, proc_group_fn *fn, void *arg)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);

        if (p->cgroup >= 0)
            fn(arg, p->extra->cgroup, p->cgroup, &p->note);
    }
}
