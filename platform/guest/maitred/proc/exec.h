/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/exec.h - start one program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

struct exec_shared;
struct vmt_err;

struct exec_rlimit {
    int resource;
    struct rlimit limit;
};

/* Where a program differs from us. All zeroes: nowhere. */
struct exec_as {
    /* Names or numbers, which the child looks up; both NULL: our user. With one of them
     * the environment has HOME and so on as login(1) sets them. */
    const char *user, *group;
    const char *cwd; /* NULL: our working directory */
    const struct exec_rlimit *rlimits;
    size_t nrlimits;
    int oom_score_adj; /* 0: ours */
};

struct exec_spec {
    char *const *argv; /* at least one; argv[0] is searched in the child's PATH */
    char *const *env;  /* NAME=VALUE over our environment, or NULL */
    bool use_console;  /* 0 to 2 are /dev/console if there is one, else /dev/null */
    bool own_terminal; /* the console becomes the controlling terminal: for a shell */
    bool dies_with_us; /* killed when we end: for what a worker starts */
    int cgroup;        /* directory of the control group to be born in; -1: ours */
    struct exec_as as;
};

/* A child that is on its way to exec. All zeroes but from exec_start: none. */
struct exec_child {
    pid_t pid;
    int fd;                     /* owned: readable, at its end, once it is decided */
    struct exec_shared *shared; /* owned; NULL: none */
};

/* Start it in a session of its own, with umask 022, default signals, none blocked, and no
 * descriptor but 0 to 2. Does not wait: the child itself reads accounts, looks for the
 * program and opens the console, which takes as long as a disk does; exec_result says how
 * that ended. In place of a frozen control group the child gets ours. Nothing of spec is
 * needed afterwards. Returns 0 or -errno. */
int exec_start(const struct exec_spec *spec, struct exec_child *ret_child,
               struct vmt_err *err);

/* Once the descriptor is readable, or the child was reaped: 0, or -ENOENT and the like,
 * with words that begin with the name; the child then ends with status 127. */
int exec_result(const struct exec_child *child, const char *name, struct vmt_err *err);

void exec_child_done(struct exec_child *child);

/* Both at once, for a process that may wait, as a worker. */
int exec_start_and_wait(const struct exec_spec *spec, pid_t *ret_pid,
                        struct vmt_err *err);

/* Undo in a child what PID 1 does for itself: signal handlers and mask. */
void exec_reset_signals(void);
