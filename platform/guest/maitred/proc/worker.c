/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/proc/exec.h"
#include "platform/guest/maitred/proc/table.h"

/* Shared with the child. */
struct worker_result {
    bool is_done; /* the child came to its end */
    int status;
    struct vmt_err err;
    unsigned char data[]; /* of the caller */
};

struct worker {
    struct proc_table *table;     /* borrowed */
    struct proc *proc;            /* borrowed from the table; NULL before the fork */
    struct vmt_timer *timer;      /* owned by the clock */
    struct worker_result *result; /* owned, a shared mapping */
    void *data;                   /* borrowed: where result->data goes */
    size_t data_bytes;
    worker_done_fn *on_done;
    void *arg; /* borrowed */
};

static void
worker_free(struct worker *w)
{
    if (!w)
        return;
    proc_forget(w->proc);
    w->table->clock->ops->timer_cancel(w->table->clock, w->timer);
    if (w->result)
        (void)munmap(w->result, sizeof(*w->result) + w->data_bytes);
    free(w);
}
VMT_DEFINE_FREEP(struct worker, worker_free)

static struct worker_result *
result_new(size_t data_bytes)
{
    void *p = mmap(NULL, sizeof(struct worker_result) + data_bytes,
                   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void
worker_on_exit(void *arg, const struct proc_exit *how)
{
    VMT_CLEANUP(worker_freep) struct worker *w = arg;
    struct vmt_err died;

    w->proc = NULL;
    if (w->result->is_done) {
        if (w->data_bytes)
            memcpy(w->data, w->result->data, w->data_bytes);
        w->on_done(w->arg, w->result->status, &w->result->err);
        return;
    }
    (void)vmt_err_setx(&died, EIO, "a worker process ended with %s %d",
                       how->kind == PROC_EXITED ? "status" : "signal", how->code);
    w->on_done(w->arg, -EIO, &died);
}

/* A child in an uninterruptible call does not even die; it is reaped whenever it does. */
static void
worker_on_timeout(void *arg)
{
    VMT_CLEANUP(worker_freep) struct worker *w = arg;
    struct vmt_err err;

    w->timer = NULL;
    (void)kill(proc_pid(w->proc), SIGKILL);
    proc_abandon(w->proc);
    (void)vmt_err_setx(&err, ETIMEDOUT, "it took too long");
    w->on_done(w->arg, -ETIMEDOUT, &err);
}

static void
child_main(struct worker_result *result, const struct worker_spec *spec)
{
    exec_reset_signals();
    (void)syscall(SYS_close_range, 3u, ~0u, 0u);
    console_log_reopen();
    result->status = spec->fn(spec->fn_arg, &result->err);
    if (spec->result_bytes)
        memcpy(result->data, spec->result, spec->result_bytes);
    result->is_done = true;
    _exit(0);
}

int
worker_start(struct proc_table *table, const struct worker_spec *spec,
             struct vmt_err *err)
{
    VMT_CLEANUP(worker_freep) struct worker *w = NULL;
    pid_t pid;
    int r;

    if (table->n >= PROC_MAX && !table->stopped) /* the last one takes the system down */
        return vmt_err_setx(err, EAGAIN, "%d processes are running already", PROC_MAX);
    if (table->abandoned >= WORKER_HANGING_MAX && !table->stopped)
        return vmt_err_setx(err, EAGAIN, "%zu calls hang already: a disk does not answer",
                            table->abandoned);
    w = calloc(1, sizeof(*w));
    if (!w)
        return vmt_err_set(err, ENOMEM, "start a worker");
    *w = (struct worker){
        .table = table,
        .on_done = spec->on_done,
        .arg = spec->arg,
        .data = spec->result,
        .data_bytes = spec->result_bytes,
    };
    w->result = result_new(w->data_bytes);
    if (!w->result)
        return vmt_err_set(err, ENOMEM, "start a worker");
    r = table->clock->ops->timer_start(table->clock, spec->timeout_ms, worker_on_timeout,
                                       w, &w->timer);
    if (r < 0)
        return vmt_err_set(err, -r, "start a worker");
    pid = fork();
    if (pid < 0)
        return vmt_err_set(err, errno, "start a worker");
    if (pid == 0)
        child_main(w->result, spec);
    r = proc_watch(table, pid, worker_on_exit, w, &w->proc, err);
    if (r < 0) {
        (void)kill(pid, SIGKILL);
        return r;
    }
    (void)vmt_take_ptr(&w);
    return 0;
}
