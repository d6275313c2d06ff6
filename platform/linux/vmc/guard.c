/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vmc/cmd_stop.h"
#include "platform/linux/vmc/vmc.h"

#define GUARD_FD 3

/* Out of reach of what ends the parent: its terminal, its process group, and the handlers
 * and descriptors that came along. Nothing may wait for our stdout to close. */
static int
guard_set_apart(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        return -errno;
    if (fd != GUARD_FD && dup2(fd, GUARD_FD) < 0)
        return -errno;
    os_close_from(GUARD_FD + 1);
    for (int sig = 1; sig < NSIG; sig++)
        (void)signal(sig, sig == SIGCHLD ? SIG_DFL : SIG_IGN);
    (void)prctl(PR_SET_NAME, "vmc-guard");
    (void)setsid();
    return 0;
}

/* The parent's loop, and its connection, are not ours to use. */
static int
guard_stop(const struct vmc *parent, const char *name)
{
    VMT_CLEANUP(vmc_done) struct vmc vmc = {0};
    struct vmt_err err;
    int r = vmc_init(&vmc, &err);

    if (r < 0)
        return r;
    vmc.owner = parent->owner;
    vmc.system = parent->system;
    return vm_stop(&vmc, name, &err);
}

static void __attribute__((noreturn))
guard_main(const struct vmc *parent, const char *name, int fd)
{
    char byte;
    ssize_t n;

    if (guard_set_apart(fd) < 0)
        _exit(1);
    do {
        n = read(GUARD_FD, &byte, 1);
    } while (n < 0 && errno == EINTR);
    _exit(n == 1 ? 0 : guard_stop(parent, name) < 0);
}

int
vmc_guard_start(const struct vmc *vmc, const char *name, struct vmc_guard *ret_guard,
                struct vmt_err *err)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    pid = fork();
    if (pid == 0) {
        (void)close(ends[1]);
        guard_main(vmc, name, ends[0]);
    }
    (void)close(ends[0]);
    if (pid < 0) {
        (void)vmt_err_set(err, errno, "fork");
        (void)close(ends[1]);
        return -EAGAIN;
    }
    *ret_guard = (struct vmc_guard){.pid = pid, .fd = ends[1]};
    return 0;
}

void
vmc_guard_dismiss(struct vmc_guard *guard)
{
    ssize_t n = write(guard->fd, "", 1); /* it is gone already: all the better */
    int status;

    (void)n;
    (void)close(guard->fd);
    while (waitpid(guard->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    guard->fd = -1;
}
