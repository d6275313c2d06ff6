/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/table.h - the processes that we started, and the reaping of
 * all others. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/list.h"

#define PROC_MAX 4096 /* entries; a host that wants more has lost its way */

/* Programs that were forked and whose exec is not decided: with a disk that does not
 * answer they would be without end. */
#define PROC_STARTING_MAX 1024

struct event_base;
struct proc;
struct proc_extra;
struct vmt_clock;
struct vmt_err;

enum proc_exit_kind {
    PROC_EXITED,   /* code: exit status */
    PROC_SIGNALED, /* code: signal */
};
struct proc_exit {
    enum proc_exit_kind kind;
    int code;
};

/* Runs from the loop; the entry is gone afterwards. */
typedef void proc_exit_fn(void *arg, const struct proc_exit *how);

/* Runs from the loop, once: the program runs, or it could not be started: r is -ENOENT
 * and the like with err set, and on_exit will not run; see proc_start for respawn. */
typedef void proc_start_fn(void *arg, int r, const struct vmt_err *err);

struct proc_spec {
    char *const *argv;       /* NULL-terminated, at least one; copied */
    char *const *env;        /* NAME=VALUE over our own environment, or NULL; copied */
    bool respawn;            /* start again whenever it ends, within limits */
    bool use_console;        /* else /dev/null */
    bool own_terminal;       /* see exec.h */
    proc_start_fn *on_start; /* NULL: a failure is logged */
    proc_exit_fn *on_exit;   /* may be NULL; not with respawn */
    void *arg;               /* borrowed until on_exit or proc_forget */
    /* Or NULL. proc_start takes it over, also when it fails. */
    struct proc_extra *extra;
};

/* A control group of one program: its name and its directory; note is a number that is
 * kept with it, 0 at first. */
typedef void proc_group_fn(void *arg, const char *group, int cgroup, uint64_t *note);

/* One per process; PID 1 reaps orphans with it, a service only its own children. */
struct proc_table {
    struct vmt_clock *clock; /* borrowed */
    struct event_base *base; /* borrowed */
    struct vmt_list procs;
    size_t n;
    size_t starting;           /* of them, on their way to exec */
    struct vmt_list leftovers; /* see leftovers.h */
    struct vmt_timer *more;    /* owned by the clock: there is more to reap */
    size_t abandoned;          /* of them, see proc_abandon */
    bool stopped;              /* no more starts */
    /* Directories of control groups; borrowed, -1: none. That of programs without one of
     * their own, and the one above it, where the others are. */
    int cgroup, cgroups;
    bool frozen; /* it is: no starts until it is not */
    /* A program that is to be respawned ended with an error or a signal; it is given up.
     * Both may be NULL. */
    void (*on_failed)(void *arg, const char *program);
    void (*on_given_up)(void *arg, const char *program);
    /* A program runs without something that it was to have. May be NULL. */
    void (*on_degraded)(void *arg, const char *program, const char *why);
    void *arg; /* borrowed */
    /* The program of a group is over. May be NULL. */
    proc_group_fn *on_group_over;
    void *group_arg; /* borrowed */
};

void proc_table_init(struct proc_table *table, struct vmt_clock *clock,
                     struct event_base *base);
/* Forget all entries; the processes run on. */
void proc_table_done(struct proc_table *table);

/* Call when SIGCHLD arrived. Who makes orphans without end does not keep us here: what is
 * left is reaped in the next turns of the loop. */
void proc_table_reap(struct proc_table *table);

/* Shutdown begins: nothing is started or respawned any more. Workers still are. */
void proc_table_stop(struct proc_table *table);

/* Start a program; on_start tells whether it runs. What is in its control group and how
 * it is limited is decided now; a limit that the kernel refuses is told by on_degraded.
 * Returns 0; -ESHUTDOWN after proc_table_stop; -EAGAIN for a full table or a frozen one;
 * -ENOMEM; what fork says. With respawn a start that fails is tried again as after an
 * exit, unless the program is not there. ret_proc may be NULL. */
int proc_start(struct proc_table *table, const struct proc_spec *spec,
               struct proc **ret_proc, struct vmt_err *err);

/* Watch a child that was forked elsewhere. */
int proc_watch(struct proc_table *table, pid_t pid, proc_exit_fn *on_exit, void *arg,
               struct proc **ret_proc, struct vmt_err *err);

/* on_start and on_exit will not run; the process is still reaped. NULL is legal. */
void proc_forget(struct proc *proc);

/* Is a program that is to be respawned started under this name, or waits for that? */
bool proc_table_has(struct proc_table *table, const char *program);

/* argv[0] of the program that runs as pid, borrowed; NULL: it was not started here. */
const char *proc_table_program(const struct proc_table *table, pid_t pid);

/* As proc_forget, for one that was killed and may hang in the kernel for a long time:
 * until it ends it is counted in table->abandoned. */
void proc_abandon(struct proc *proc);

/* 0 while it waits for its respawn. */
pid_t proc_pid(const struct proc *proc);

/* What there is to say of a program; strings are borrowed. */
struct proc_info {
    const char *name;  /* argv[0] */
    const char *group; /* "": the common one */
    pid_t pid;         /* 0 while it waits for its respawn */
    bool respawn;
    unsigned starts; /* within the window of respawn.h */
};

/* Every program that was started here, workers left out. fn may stop the one it gets. */
void proc_table_each(struct proc_table *table,
                     void (*fn)(void *arg, struct proc *proc,
                                const struct proc_info *info),
                     void *arg);

/* Send the signal, or with whole_group kill all that is in its own control group; one
 * that waits for its respawn is forgotten. It is not started again. proc may be gone
 * afterwards. */
void proc_stop(struct proc *proc, int sig, bool whole_group);

/* Each process of the table that has a control group of its own. */
void proc_table_each_group(struct proc_table *table, proc_group_fn *fn, void *arg);
