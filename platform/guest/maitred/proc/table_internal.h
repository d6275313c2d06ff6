/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/table_internal.h - an entry of the table. */
#pragma once

#include "core/base/argv.h"
#include "core/base/list.h"
#include "platform/guest/maitred/proc/exec.h"
#include "platform/guest/maitred/proc/respawn.h"
#include "platform/guest/maitred/proc/table.h"

struct event;
struct vmt_timer;

struct proc {
    struct vmt_list node;
    struct proc_table *table; /* borrowed */
    pid_t pid;                /* 0: waits for its respawn */
    struct vmt_argv argv;     /* owned; empty for a watched child */
    struct vmt_argv env;      /* owned */
    bool respawn, use_console, own_terminal;
    bool abandoned;
    bool is_told;            /* on_start ran, or nobody asked */
    bool lacks_group;        /* and that was told */
    struct exec_child child; /* owned; until exec is decided */
    struct event *decided;   /* owned; of child.fd */
    struct respawn starts;
    struct vmt_timer *timer;  /* owned by the clock */
    proc_start_fn *on_start;  /* NULL: forgotten, told, or nobody asked */
    proc_exit_fn *on_exit;    /* NULL: forgotten, or nobody asked */
    void *arg;                /* borrowed */
    struct proc_extra *extra; /* owned; NULL: nothing special */
    int cgroup;               /* owned: a group of its own; -1: none */
    uint64_t note;            /* see proc_table_each_group */
};

/* NULL: none of ours. */
struct proc *table_find(const struct proc_table *table, pid_t pid);
