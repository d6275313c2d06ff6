/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/exec.h - start one program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

struct login;
struct vmt_err;

struct exec_rlimit {
    int resource;
    struct rlimit limit;
};

/* Where a program differs from us. All zeroes: nowhere. */
struct exec_as {
    const struct login *login; /* NULL: our user */
    const char *cwd;           /* NULL: our working directory */
    const struct exec_rlimit *rlimits;
    size_t nrlimits;
    int oom_score_adj; /* 0: ours */
};

struct exec_spec {
    char *const *argv; /* at least one; argv[0] is searched in PATH of env */
    char *const *env;  /* NULL-terminated, whole */
    bool use_console;  /* 0 to 2 are /dev/console if there is one, else /dev/null */
    bool own_terminal; /* the console becomes the controlling terminal: for a shell */
    int cgroup;        /* directory of the control group to be born in; -1: ours */
    struct exec_as as;
};

/* Start it in a session of its own, with umask 022, default signals, none blocked, and no
 * descriptor but 0 to 2. Whether exec worked is known on return. Returns 0, -ENOENT and
 * the like; nothing is left behind then except a child to be reaped. In place of a frozen
 * control group the child gets ours. One that is frozen while we start it holds us for
 * two seconds at most: the child then runs when it is thawed, and exits with 127 if exec
 * fails. */
int exec_start(const struct exec_spec *spec, pid_t *ret_pid, struct vmt_err *err);

/* The environment of this process with the given NAME=VALUE pairs over it. The array is
 * malloc'ed, its strings are borrowed. NULL without memory. */
char **exec_env(char *const *pairs);

/* Undo in a child what PID 1 does for itself: signal handlers and mask. */
void exec_reset_signals(void);
