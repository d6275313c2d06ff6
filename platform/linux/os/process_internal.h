/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/process_internal.h - what a child does between vfork and exec. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Everything is prepared before vfork: the child shares our memory and allocates nothing.
 */
struct process_fd {
    int from; /* borrowed */
    int high; /* the child's copy of it, out of the way of every target number */
    int to;
};

struct process_plan {
    const char *path; /* of the program; borrowed, as are argv and env */
    char *const *argv;
    char *const *env;
    struct process_fd *fds; /* ascending by to; of a program with 0, 1 and 2 */
    size_t nfds;
    bool new_session;
    pid_t parent;   /* the child is killed when this one dies; 0: it is not */
    int cgroup_fd;  /* borrowed: cgroup.procs, open for writing; below 1: none */
    int confine_fd; /* borrowed: a ruleset of Landlock; below 1: none */
    /* Written by the child. */
    volatile int failed;            /* errno, 0 when exec worked */
    const char *volatile failed_at; /* words for it */
};

/* A copy of ourselves with the descriptors of plan only, which may be none; it runs
 * call(arg) and ends. Returns its pid or -errno. */
pid_t process_fork(struct process_plan *plan, int (*call)(void *arg), void *arg);

/* Start the child. Returns its pid once it runs the program (failed is 0) or has given up
 * (failed is set; the caller reaps it), or -errno. */
pid_t process_vfork(struct process_plan *plan);
