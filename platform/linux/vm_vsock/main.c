/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_vsock - one VM's virtio socket device, as a vhost-user back end: a keeper, which is
 * the process that was started, and its worker. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/vsock/journal.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/vm_vsock/keeper.h"
#include "platform/linux/vm_vsock/options.h"
#include "platform/linux/vm_vsock/sandbox.h"
#include "platform/linux/vm_vsock/worker.h"

#define EXIT_USAGE 2
#define BACKLOG 64
/* Ten of them for an answer of a worker, which has its own within milliseconds. */
#define TICK_MS 1000

/* Where a worker finds its descriptors. */
enum { WORKER_FD = 3, WORKER_VSOCK_FD = 4, WORKER_JOURNAL_FD = 5 };

/* Each member owned; NULL or -1 until it is there. */
struct program {
    struct options opt;
    struct os_loop *loop;
    struct spawn *spawn;
    struct keeper *keeper;
    struct vmt_argv argv;               /* of workers */
    int vhost_fd, vsock_fd, journal_fd; /* until handed on */
    bool made_vhost, made_vsock;        /* paths to remove at the end */
    char self[PATH_MAX];
};

static void
program_done(struct program *p)
{
    keeper_free(p->keeper);
    os_spawn_free(p->spawn);
    os_loop_free(p->loop);
    vmt_argv_done(&p->argv);
    vmt_closep(&p->vhost_fd);
    vmt_closep(&p->vsock_fd);
    vmt_closep(&p->journal_fd);
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

/* Our own path, and not /proc/self/exe: after an upgrade the new program is there. */
static int
program_self(struct program *p, struct vmt_err *err)
{
    ssize_t n = readlink("/proc/self/exe", p->self, sizeof(p->self) - 1);

    if (n < 0)
        return vmt_err_set(err, errno, "find our own program");
    p->self[n] = '\0';
    return 0;
}

static int
program_argv(struct program *p, struct vmt_err *err)
{
    static const char *const levels[] = {[VMT_LOG_ERROR] = "error",
                                         [VMT_LOG_WARNING] = "warning",
                                         [VMT_LOG_NOTICE] = "notice",
                                         [VMT_LOG_INFO] = "info",
                                         [VMT_LOG_DEBUG] = "debug"};

    vmt_argv_add(&p->argv, p->self);
    vmt_argv_addf(&p->argv, "--guest-cid=%u", p->opt.guest_cid);
    vmt_argv_addf(&p->argv, "--worker-fd=%d", WORKER_FD);
    vmt_argv_addf(&p->argv, "--vsock-fd=%d", WORKER_VSOCK_FD);
    vmt_argv_addf(&p->argv, "--journal-fd=%d", WORKER_JOURNAL_FD);
    if (p->opt.uds_dir)
        vmt_argv_addf(&p->argv, "--uds-dir=%s", p->opt.uds_dir);
    else
        vmt_argv_addf(&p->argv, "--vsock-socket=%s", p->opt.vsock_socket);
    vmt_argv_addf(&p->argv, "--log-level=%s", levels[p->opt.log_level]);
    if (!p->opt.sandbox)
        vmt_argv_add(&p->argv, "--no-sandbox");
    return vmt_argv_finish(&p->argv, err);
}

static int
program_journal(struct program *p, struct vmt_err *err)
{
    p->journal_fd = memfd_create("vsock-journal", MFD_CLOEXEC);
    if (p->journal_fd < 0 || ftruncate(p->journal_fd, sizeof(struct vsock_journal)) < 0)
        return vmt_err_set(err, errno, "make a journal");
    return 0;
}

static int
program_keep(struct program *p, struct vmt_err *err)
{
    const struct keeper_config config = {
        .loop = p->loop,
        .spawn = p->spawn,
        .argv = (const char *const *)p->argv.v,
        .worker_fd = WORKER_FD,
        .vsock_fd = WORKER_VSOCK_FD,
        .journal_fd = WORKER_JOURNAL_FD,
        .tick_ms = TICK_MS,
        .vhost = p->vhost_fd,
        .vsock = p->vsock_fd,
        .journal = p->journal_fd,
    };
    int r = keeper_new(&config, &p->keeper, err);

    if (r < 0)
        return r;
    p->vhost_fd = p->vsock_fd = p->journal_fd = -1;
    return keeper_start(p->keeper, err);
}

static void
on_terminate(void *arg, int sig)
{
    struct program *p = arg;

    (void)sig;
    if (p->keeper)
        keeper_stop(p->keeper);
    else
        os_loop_stop(p->loop, 0);
}

static void
on_statistics(void *arg, int sig)
{
    struct program *p = arg;

    (void)sig;
    if (p->keeper)
        keeper_statistics(p->keeper);
}

static void
on_replace(void *arg, int sig)
{
    struct program *p = arg;

    (void)sig;
    if (p->keeper)
        keeper_replace(p->keeper);
}

static int
program_signals(struct program *p, struct vmt_err *err)
{
    int r = os_loop_on_signal(p->loop, SIGTERM, on_terminate, p, err);

    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGINT, on_terminate, p, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGUSR1, on_statistics, p, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGHUP, on_replace, p, err);
    return r;
}

static int
program_start(struct program *p, struct vmt_err *err)
{
    int r = program_self(p, err); /* not allowed any more once hardened */

    if (r == 0)
        r = process_harden(err);
    if (r == 0)
        r = os_loop_new(&p->loop, err);
    if (r == 0)
        r = program_signals(p, err);
    if (r == 0)
        r = os_spawn_new(p->loop, &p->spawn, err);
    if (r == 0)
        r = socket_get(p->opt.vhost_fd, p->opt.vhost_socket, &p->vhost_fd, &p->made_vhost,
                       err);
    if (r == 0)
        r = socket_get(p->opt.vsock_fd, p->opt.vsock_socket, &p->vsock_fd, &p->made_vsock,
                       err);
    if (r == 0)
        r = program_journal(p, err);
    if (r == 0)
        r = program_argv(p, err);
    return r;
}

static int
keeper_main(struct program *p)
{
    struct vmt_err err = {0};
    int r = program_start(p, &err);

    /* Not fatal, as in the worker. */
    if (r == 0 && p->opt.sandbox && sandbox_enter(SANDBOX_KEEPER, &err) < 0)
        vmt_log_debug("without a system call filter: %s", vmt_err_text(&err));
    if (r == 0)
        r = program_keep(p, &err);
    if (r < 0) {
        vmt_log_error("start failed: %s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    return os_loop_run(p->loop);
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(program_done)
    struct program p = {.vhost_fd = -1, .vsock_fd = -1, .journal_fd = -1};
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
    return p.opt.worker_fd >= 0 ? worker_main(&p.opt) : keeper_main(&p);
}
