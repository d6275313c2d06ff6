/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/extra.h - what a program is given beyond its arguments: a
 * user, limits, a control group of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "platform/guest/maitred/proc/exec.h"
#include "platform/guest/maitred/proc/group.h"

#define PROC_RLIMITS_MAX 16

/* All zeroes but from proc_extra_new: nothing. Strings are owned, NULL: not given. */
struct proc_extra {
    char *cwd;          /* absolute */
    char *user, *group; /* names or numbers; looked up at each start */
    struct exec_rlimit rlimits[PROC_RLIMITS_MAX];
    size_t nrlimits;
    int oom_score_adj;
    char cgroup[GROUP_NAME_MAX]; /* name of its control group, "": the common one */
    struct group_limits limits;
    bool kill_children;      /* before it is started again */
    bool respawn_on_failure; /* but not after exit status 0 */
};

/* NULL without memory. */
struct proc_extra *proc_extra_new(void);
void proc_extra_free(struct proc_extra *extra);

/* The number of a resource of setrlimit(2) by its name without RLIMIT_, "nofile"; -1:
 * there is none. */
int proc_rlimit_find(const char *name);
