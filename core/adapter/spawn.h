/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/spawn.h - child processes, and processes adopted from an earlier life. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spawn;
struct spawn_child;
struct vmt_err;

enum spawn_exit_kind {
    SPAWN_EXIT_UNKNOWN, /* an adopted process: its parent got the status */
    SPAWN_EXIT_CODE,
    SPAWN_EXIT_SIGNAL,
};
struct spawn_exit {
    enum spawn_exit_kind kind;
    int code; /* exit code or signal number */
};

/* Runs once, from the loop. The child is gone afterwards: drop the pointer. */
typedef void spawn_exit_fn(void *arg, const struct spawn_exit *how);

struct spawn_fd {
    int from; /* borrowed: duplicated, stays open here */
    int to;   /* number in the child, without close-on-exec */
};

struct spawn_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    /* Instead of a program: run this in a copy of ourselves without any descriptor but
     * those of fds, and end with what it returns, 0 .. 255. Only argument, fds, on_exit
     * and arg count then. */
    int (*call)(void *arg);
    void *call_arg;
    const char *const *env;     /* NULL-terminated NAME=VALUE list, or NULL: inherit */
    const struct spawn_fd *fds; /* 0, 1 and 2 become /dev/null unless named here */
    size_t nfds;
    bool new_session;  /* setsid: the child outlives us and our terminal */
    bool ends_with_us; /* killed when we die, however that happens */
    /* The group of processes that the child joins before it runs anything, as
     * host_cgroup_ops.make gave it; borrowed. Below 1: ours. */
    int cgroup_fd;
    /* A ruleset of Landlock that binds the child before it runs anything; borrowed. The
     * child gets no more rights by what it runs, either. Below 1: none. */
    int confine_fd;
    spawn_exit_fn *on_exit;
    void *arg; /* borrowed until on_exit or release */
};

/* Enough to recognise a process again after a restart: a pid alone is reused. */
struct spawn_id {
    int32_t pid;
    uint64_t start_time; /* clock ticks since boot, field 22 of proc(5) stat */
};

struct spawn_ops {
    /* Start a process; no other descriptor leaks into it. The result of exec is known on
     * return: -ENOENT and the like come from here. */
    int (*start)(struct spawn *sp, const struct spawn_spec *spec,
                 struct spawn_child **ret_child, struct vmt_err *err);
    /* Watch a process that runs already. Returns 0, -ESRCH when no process has this id.
     */
    int (*adopt)(struct spawn *sp, const struct spawn_id *id, spawn_exit_fn *on_exit,
                 void *arg, struct spawn_child **ret_child, struct vmt_err *err);
    /* Send a signal. Returns 0 or -ESRCH. */
    int (*kill)(struct spawn_child *child, int sig);
    void (*id)(const struct spawn_child *child, struct spawn_id *ret_id);
    /* Stop watching; the process runs on, and is still reaped. child may be NULL. */
    void (*release)(struct spawn_child *child);
};

struct spawn {
    const struct spawn_ops *ops;
};
