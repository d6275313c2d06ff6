/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/vsock/journal.h"
#include "core/vsock/mux.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/hybrid.h"
#include "platform/linux/vm_vsock/memory.h"
#include "platform/linux/vm_vsock/sandbox.h"
#include "platform/linux/vm_vsock/vhost_user.h"

/* Each member owned; NULL or -1 until it is there. */
struct worker {
    const struct options *opt; /* borrowed */
    struct os_loop *loop;
    struct hybrid *hybrid;
    struct vsock_mux *mux;
    struct vsock_device *dev;
    struct vhost_user *vu;
    struct vsock_journal *journal; /* shared with the workers before and after */
    int worker_fd, vsock_fd;       /* until handed on */
    uint64_t restarts;
    struct vhost_user_owner owner;
};

static void
worker_done(struct worker *w)
{
    if (w->mux)
        vsock_mux_leave_journal(w->mux); /* the guest is not told by us */
    vhost_user_free(w->vu);
    vsock_device_free(w->dev);
    vsock_mux_free(w->mux);
    hybrid_free(w->hybrid);
    os_loop_free(w->loop);
    if (w->journal)
        (void)munmap(w->journal, sizeof(*w->journal));
    vmt_closep(&w->worker_fd);
    vmt_closep(&w->vsock_fd);
}

int
process_harden(struct vmt_err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return vmt_err_set(err, errno, "give up privileges");
    return 0;
}

static void
on_hello(void *arg, uint64_t restarts)
{
    struct worker *w = arg;

    w->restarts = restarts;
}

static void
on_begin(void *arg, bool resume)
{
    struct worker *w = arg;
    unsigned n = vsock_mux_set_journal(w->mux, w->journal, resume);

    if (resume)
        vmt_log_notice("going on with the device of another worker, connections that end "
                       "with it: %u",
                       n);
}

static int
on_serve(void *arg, struct vmt_err *err)
{
    struct worker *w = arg;
    int r = hybrid_start(w->hybrid, w->vsock_fd, err);

    if (r == 0)
        w->vsock_fd = -1;
    return r;
}

static void
on_end(void *arg)
{
    struct worker *w = arg;

    os_loop_stop(w->loop, EXIT_SUCCESS);
}

static int
worker_journal(struct worker *w, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = w->opt->journal_fd;
    struct stat st;
    void *at;

    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(*w->journal))
        return vmt_err_setx(err, EINVAL, "descriptor %d is not a journal", fd);
    at = mmap(NULL, sizeof(*w->journal), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return vmt_err_set(err, errno, "map the journal");
    w->journal = at;
    return 0;
}

static int
worker_wire(struct worker *w, struct vmt_err *err)
{
    const struct options *opt = w->opt;
    struct event_base *base = os_loop_base(w->loop);
    VMT_CLEANUP(vmt_freep) char *prefix = NULL;
    int r;

    if (opt->uds_dir && asprintf(&prefix, "%s/vsock", opt->uds_dir) < 0)
        prefix = NULL;
    if (!opt->uds_dir)
        prefix = strdup(opt->vsock_socket);
    if (!prefix)
        return vmt_err_set(err, ENOMEM, "start");
    r = hybrid_new(base, prefix, &w->hybrid, err);
    if (r < 0)
        return r;
    r = vsock_mux_new(opt->guest_cid, &hybrid_host_ops, w->hybrid, &w->mux);
    if (r < 0)
        return vmt_err_set(err, -r, "create connections of cid %u", opt->guest_cid);
    r = vsock_device_new(base, w->mux, &w->dev, err);
    if (r < 0)
        return r;
    hybrid_attach(w->hybrid, w->mux, w->dev);
    r = vhost_user_new(base, w->worker_fd, true, opt->guest_cid, w->dev, &w->vu, err);
    if (r < 0)
        return r;
    w->worker_fd = -1;
    vhost_user_set_owner(w->vu, &w->owner);
    return 0;
}

static void
on_terminate(void *arg, int sig)
{
    struct worker *w = arg;

    (void)sig;
    os_loop_stop(w->loop, 0);
}

static void
on_statistics(void *arg, int sig)
{
    struct worker *w = arg;
    const struct vsock_stats *s = vsock_mux_stats(w->mux);

    (void)sig;
    vmt_log_notice("statistics cid=%u connections=%u opened=%llu refused=%llu "
                   "to_host_bytes=%llu to_guest_bytes=%llu dropped=%llu rst_sent=%llu "
                   "rst_received=%llu restarts=%llu",
                   w->opt->guest_cid, s->conns, (unsigned long long)s->opened,
                   (unsigned long long)s->refused, (unsigned long long)s->bytes_to_host,
                   (unsigned long long)s->bytes_to_guest, (unsigned long long)s->dropped,
                   (unsigned long long)s->rst_sent, (unsigned long long)s->rst_received,
                   (unsigned long long)w->restarts);
}

static int
worker_signals(struct worker *w, struct vmt_err *err)
{
    int r = os_loop_on_signal(w->loop, SIGTERM, on_terminate, w, err);

    if (r == 0)
        r = os_loop_on_signal(w->loop, SIGINT, on_terminate, w, err);
    if (r == 0)
        r = os_loop_on_signal(w->loop, SIGUSR1, on_statistics, w, err);
    return r;
}

static int
worker_set_up(struct worker *w, struct vmt_err *err)
{
    int r = process_harden(err);

    guest_memory_guard();
    if (r == 0)
        r = worker_journal(w, err);
    if (r == 0)
        r = os_loop_new(&w->loop, err);
    if (r == 0)
        r = worker_signals(w, err);
    if (r == 0)
        r = worker_wire(w, err);
    return r;
}

int
worker_main(const struct options *opt)
{
    VMT_CLEANUP(worker_done)
    struct worker w = {
        .opt = opt, .worker_fd = opt->worker_fd, .vsock_fd = opt->vsock_fd};
    struct vmt_err err = {0};

    w.owner = (struct vhost_user_owner){.on_hello = on_hello,
                                        .on_begin = on_begin,
                                        .on_serve = on_serve,
                                        .on_end = on_end,
                                        .arg = &w};
    if (worker_set_up(&w, &err) < 0) {
        vmt_log_error("worker start failed: %s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    /* Not fatal: the program guards itself at every boundary; this is the wall behind it.
     */
    if (opt->sandbox && sandbox_enter(SANDBOX_WORKER, &err) < 0)
        vmt_log_debug("without a system call filter: %s", vmt_err_text(&err));
    return os_loop_run(w.loop);
}
