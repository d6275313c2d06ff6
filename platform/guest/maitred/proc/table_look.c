/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is in the table. */
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "platform/guest/maitred/proc/extra.h"
#include "platform/guest/maitred/proc/table_internal.h"

struct proc *
table_find(const struct proc_table *table, pid_t pid)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);

        if (p->pid == pid)
            return p;
    }
    return NULL;
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

const char *
proc_table_program(const struct proc_table *table, pid_t pid)
{
    const struct proc *p = table_find(table, pid);

    return p && p->argv.n ? p->argv.v[0] : NULL;
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
proc_table_each_group(struct proc_table *table, proc_group_fn *fn, void *arg)
{
    VMT_LIST_FOREACH(at, next, &table->procs)
    {
        struct proc *p = VMT_CONTAINER_OF(at, struct proc, node);

        if (p->cgroup >= 0)
            fn(arg, p->extra->cgroup, p->cgroup, &p->note);
    }
}
