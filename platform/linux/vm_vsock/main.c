/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_vsock - one VM's virtio socket device, as a vhost-user back end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/vsock/mux.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/hybrid.h"
#include "platform/linux/vm_vsock/memory.h"
#include "platform/linux/vm_vsock/options.h"
#include "platform/linux/vm_vsock/sandbox.h"
#include "platform/linux/vm_vsock/vhost_user.h"

#define EXIT_USAGE 2
#define BACKLOG 64

/* Each member owned; NULL or -1 until it is there. */
struct program {
    struct options opt;
    struct os_loop *loop;
    struct hybrid *hybrid;
    struct vsock_mux *mux;
    struct vsock_device *dev;
    struct vhost_user *vu;
    int vhost_fd, vsock_fd;      /* until handed on */
    bool made_vhost, made_vsock; /* paths to remove at the end */
};

static void
program_done(struct program *p)
{
    vhost_user_free(p->vu);
    vsock_device_free(p->dev);
    vsock_mux_free(p->mux);
    hybrid_free(p->hybrid);
    os_loop_free(p->loop);
    vmt_closep(&p->vhost_fd);
    vmt_closep(&p->vsock_fd);
    if (p->made_vhost)
        (void)unlink(p->opt.vhost_socket);
    if (p->made_vsock)
        (void)unlink(p->opt.vsock_socket);
}

/* Take an inherited listening socket, or make one at path. */
static int
socket_get(int inherited, const char *path, int *ret_fd, bool *ret_made,
           struct vmt_err *err)
{
    socklen_t len = sizeof(int);
    int listening = 0, r;

    if (inherited < 0) {
        r = os_unix_listen(path, 0600, BACKLOG, ret_fd, err);
        *ret_made = r == 0;
        return r;
    }
    if (getsockopt(inherited, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
        return vmt_err_set(err, errno, "use descriptor %d", inherited);
    if (!listening)
        return vmt_err_setx(err, EINVAL, "descriptor %d is not a listening socket",
                            inherited);
    if (fcntl(inherited, F_SETFD, FD_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "use descriptor %d", inherited);
    *ret_fd = inherited;
    return 0;
}

static int
program_wire(struct program *p, struct vmt_err *err)
{
    struct event_base *base = os_loop_base(p->loop);
    VMT_CLEANUP(vmt_freep) char *prefix = NULL;
    int r;

    if (p->opt.uds_dir && asprintf(&prefix, "%s/vsock", p->opt.uds_dir) < 0)
        prefix = NULL;
    if (!p->opt.uds_dir)
        prefix = strdup(p->opt.vsock_socket);
    if (!prefix)
        return vmt_err_set(err, ENOMEM, "start");
    r = hybrid_new(base, prefix, &p->hybrid, err);
    if (r < 0)
        return r;
    r = vsock_mux_new(p->opt.guest_cid, &hybrid_host_ops, p->hybrid, &p->mux);
    if (r < 0)
        return vmt_err_set(err, -r, "create connections of cid %u", p->opt.guest_cid);
    r = vsock_device_new(base, p->mux, &p->dev, err);
    if (r < 0)
        return r;
    r = hybrid_start(p->hybrid, p->vsock_fd, p->mux, p->dev, err);
    if (r < 0)
        return r;
    p->vsock_fd = -1;
    r = vhost_user_new(base, p->vhost_fd, p->opt.guest_cid, p->dev, &p->vu, err);
    if (r == 0)
        p->vhost_fd = -1;
    return r;
}

static void
on_terminate(void *arg, int sig)
{
    struct program *p = arg;

    (void)sig;
    os_loop_stop(p->loop, 0);
}

static void
on_statistics(void *arg, int sig)
{
    struct program *p = arg;
    const struct vsock_stats *s = vsock_mux_stats(p->mux);

    (void)sig;
    vmt_log_notice("statistics cid=%u connections=%u opened=%llu refused=%llu "
                   "to_host_bytes=%llu to_guest_bytes=%llu dropped=%llu rst_sent=%llu "
                   "rst_received=%llu",
                   p->opt.guest_cid, s->conns, (unsigned long long)s->opened,
                   (unsigned long long)s->refused, (unsigned long long)s->bytes_to_host,
                   (unsigned long long)s->bytes_to_guest, (unsigned long long)s->dropped,
                   (unsigned long long)s->rst_sent, (unsigned long long)s->rst_received);
}

static int
program_signals(struct program *p, struct vmt_err *err)
{
    int r = os_loop_on_signal(p->loop, SIGTERM, on_terminate, p, err);

    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGINT, on_terminate, p, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGUSR1, on_statistics, p, err);
    return r;
}

static int
program_start(struct program *p, struct vmt_err *err)
{
    int r;

    /* It maps the guest's memory: nobody of the same user may look into it. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return vmt_err_set(err, errno, "give up privileges");
    guest_memory_guard();
    r = os_loop_new(&p->loop, err);
    if (r == 0)
        r = program_signals(p, err);
    if (r == 0)
        r = socket_get(p->opt.vhost_fd, p->opt.vhost_socket, &p->vhost_fd, &p->made_vhost,
                       err);
    if (r == 0)
        r = socket_get(p->opt.vsock_fd, p->opt.vsock_socket, &p->vsock_fd, &p->made_vsock,
                       err);
    if (r == 0)
        r = program_wire(p, err);
    return r;
}

/* Not fatal: the program guards itself at every boundary; this is the wall behind it. */
static void
program_jail(const struct program *p)
{
    struct vmt_err err = {0};

    if (p->opt.sandbox && sandbox_enter(p->made_vhost || p->made_vsock, &err) < 0)
        vmt_log_debug("without a system call filter: %s", vmt_err_text(&err));
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(program_done) struct program p = {.vhost_fd = -1, .vsock_fd = -1};
    struct vmt_err err = {0};

    os_process_init();
    vmt_log_init("vm_vsock", NULL, NULL);
    if (options_parse(argc, argv, &p.opt, &err) < 0) {
        (void)fprintf(stderr, "vm_vsock: %s (see vm_vsock --help)\n", vmt_err_text(&err));
        return EXIT_USAGE;
    }
    if (p.opt.help || p.opt.version) {
        (void)fputs(p.opt.help ? options_usage : "vm_vsock " VMT_VERSION "\n", stdout);
        return 0;
    }
    vmt_log_set_level(p.opt.log_level);
    os_raise_nofile();
    if (program_start(&p, &err) < 0) {
        vmt_log_error("start failed: %s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    program_jail(&p);
    return os_loop_run(p.loop);
}
