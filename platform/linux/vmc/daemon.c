/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/daemon.c - reach vm_concierge, and start it on demand. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"

#define SYSTEM_SOCKET "/run/vm_tools/concierge.sock"
#define READY_TIMEOUT_MS 60000 /* it may have VMs to adopt first */
#define READY_FD 3
#define IDLE_EXIT_S "10"
#define LOG_TAIL_MAX 400

/* In the grandchild: not ours to wait for, and without our terminal. */
static void __attribute__((noreturn)) daemon_exec(const char *program, int ready, int log)
{
    int null = open("/dev/null", O_RDWR);
    int last = 2;

    (void)setsid();
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    if (ready >= 0) {
        if (ready != READY_FD && dup2(ready, READY_FD) < 0)
            _exit(126);
        (void)fcntl(READY_FD, F_SETFD, 0);
        last = READY_FD;
    }
    os_close_from(last + 1);
    for (int sig = 1; sig < NSIG; sig++)
        (void)signal(sig, SIG_DFL);
    (void)chdir("/");
    (void)execlp(program, "vm_concierge", "--user", "--ready-fd", "3", "--idle-exit",
                 IDLE_EXIT_S, (char *)NULL);
    (void)dprintf(2, "cannot run %s: %m\n", program);
    _exit(127);
}

/* Fork twice, so that the daemon is nobody's zombie. */
static int
daemon_fork(const char *program, int ready, int log, struct vmt_err *err)
{
    pid_t pid = fork();
    int status;

    if (pid < 0)
        return vmt_err_set(err, errno, "fork");
    if (pid == 0) {
        pid = fork();
        if (pid == 0)
            daemon_exec(program, ready, log);
        _exit(pid < 0);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return vmt_err_set(err, errno, "wait for the start of vm_concierge");
    return status == 0 ? 0 : vmt_err_setx(err, EAGAIN, "cannot fork vm_concierge");
}

/* The last line of what the daemon said, for the error. */
static int
daemon_failed(const char *log_path, long before, struct vmt_err *err)
{
    char tail[LOG_TAIL_MAX], safe[LOG_TAIL_MAX];
    VMT_CLEANUP(vmt_closep) int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    off_t from =
        end - (off_t)sizeof(tail) + 1 > before ? end - (off_t)sizeof(tail) + 1 : before;
    ssize_t n = fd >= 0 ? pread(fd, tail, sizeof(tail) - 1, from) : 0;
    char *line;

    tail[n > 0 ? n : 0] = '\0';
    while (n > 0 && tail[n - 1] == '\n')
        tail[--n] = '\0';
    line = strrchr(tail, '\n');
    return vmt_err_setx(err, ENOTCONN, "vm_concierge did not start: %s (log: %s)",
                        *tail ? vmc_escape(safe, sizeof(safe), line ? line + 1 : tail)
                              : "it said nothing",
                        log_path);
}

static int
daemon_wait(int ready, const char *log_path, long before, struct vmt_err *err)
{
    struct pollfd p = {.fd = ready, .events = POLLIN};
    char byte;
    int r;

    do {
        r = poll(&p, 1, READY_TIMEOUT_MS);
    } while (r < 0 && errno == EINTR);
    if (r == 0)
        return vmt_err_setx(err, ETIMEDOUT,
                            "vm_concierge was not ready within %d s (log: %s)",
                            READY_TIMEOUT_MS / 1000, log_path);
    if (read(ready, &byte, 1) == 1)
        return 0;
    return daemon_failed(log_path, before, err);
}

static int
daemon_start(struct vmc *vmc, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *program = vmc_find_program("vm_concierge");
    VMT_CLEANUP(vmt_freep) char *log_path = NULL;
    VMT_CLEANUP(vmt_closep) int log = -1;
    VMT_CLEANUP(vmt_closep) int ready = -1;
    VMT_CLEANUP(vmt_closep) int ready_write = -1;
    int pair[2], r;
    long before;

    if (!program || asprintf(&log_path, "%s/concierge.log", vmc->paths.state) < 0)
        return vmt_err_set(err, ENOMEM, "start vm_concierge");
    log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log < 0)
        return vmt_err_set(err, errno, "open %s", log_path);
    before = (long)lseek(log, 0, SEEK_END);
    if (pipe2(pair, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    ready = pair[0];
    ready_write = pair[1];
    r = daemon_fork(program, ready_write, log, err);
    if (r < 0)
        return r;
    vmt_closep(&ready_write); /* so that its death is an end of file */
    ready_write = -1;
    return daemon_wait(ready, log_path, before, err);
}

static bool
nobody_listens(int r)
{
    return r == -ENOENT || r == -ECONNREFUSED;
}

/* One at a time: whoever comes second finds the daemon that the first has started. */
static int
daemon_start_locked(struct vmc *vmc, const char *socket_path, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int lock = -1;
    char path[PATH_MAX];
    int r;

    (void)snprintf(path, sizeof(path), "%s/concierge.lock", vmc->paths.runtime);
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return vmt_err_set(err, errno, "lock %s", path);
    r = concierge_client_new(vmc->loop, socket_path, &vmc->client, err);
    if (!nobody_listens(r))
        return r;
    r = daemon_start(vmc, err);
    if (r < 0)
        return r;
    return concierge_client_new(vmc->loop, socket_path, &vmc->client, err);
}

void
vmc_socket_path(const struct vmc *vmc, char *path, size_t size)
{
    if (vmc->system)
        (void)snprintf(path, size, "%s", SYSTEM_SOCKET);
    else
        (void)snprintf(path, size, "%s/concierge.sock", vmc->paths.runtime);
}

int
vmc_connect(struct vmc *vmc, struct vmt_err *err)
{
    char path[PATH_MAX];
    int r;

    if (vmc->client)
        return 0;
    vmc_socket_path(vmc, path, sizeof(path));
    r = concierge_client_new(vmc->loop, path, &vmc->client, err);
    if (!nobody_listens(r))
        return r;
    if (vmc->system)
        return vmt_err_setx(err, ENOTCONN,
                            "vm_concierge of the system does not run; start its service");
    return daemon_start_locked(vmc, path, err);
}

int
vmc_call(struct vmc *vmc, const struct concierge_call *call,
         struct ProtobufCMessage **ret_reply, struct vmt_err *err)
{
    int r = -ENOTCONN;

    /* A daemon without VMs ends itself; the connection may have come just then. */
    for (int attempt = 0; attempt < 2 && r == -ENOTCONN; attempt++) {
        r = vmc_connect(vmc, err);
        if (r == 0)
            r = concierge_client_call(vmc->client, call, ret_reply, err);
        if (r == -ENOTCONN) {
            concierge_client_free(vmc->client);
            vmc->client = NULL;
        }
    }
    return r;
}
