/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/process_child.c - the child's side: only async-signal-safe calls. */
#include "platform/linux/os/process_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Without close_range every number has to be tried; more than this are never open here,
 * and ours are close-on-exec anyway. */
#define CHILD_CLOSE_MAX 65536u

_Noreturn static void
child_fail(struct process_plan *plan, const char *what)
{
    plan->failed = errno ? errno : EIO;
    plan->failed_at = what;
    _exit(127);
}

/* Handlers point into memory that exec throws away, ignored signals would stay ignored.
 */
static void
child_reset_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &dfl, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What protects a daemon from the out-of-memory killer is not meant for what it starts.
 * Raising the value needs no right; source: proc(5), /proc/pid/oom_score_adj. */
static void
child_reset_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char sign = '0';

    if (fd < 0)
        return;
    if (read(fd, &sign, 1) == 1 && sign == '-')
        (void)!write(fd, "0", 1);
    (void)close(fd);
}

static void
child_close_range(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0u) == 0)
        return;
    if (last > CHILD_CLOSE_MAX)
        last = CHILD_CLOSE_MAX;
    for (unsigned fd = first; fd <= last; fd++)
        (void)close((int)fd);
}

/* First copy everything above the highest target, then down to its place: so any overlap
 * of from and to comes out right. */
static void
child_map_fds(struct process_plan *plan)
{
    int above = plan->fds[plan->nfds - 1].to + 1;
    unsigned next = 0;

    for (size_t i = 0; i < plan->nfds; i++) {
        struct process_fd *f = &plan->fds[i];

        f->high = fcntl(f->from, F_DUPFD_CLOEXEC, above);
        if (f->high < 0)
            child_fail(plan, "copy a descriptor for it");
    }
    for (size_t i = 0; i < plan->nfds; i++) {
        if (dup2(plan->fds[i].high, plan->fds[i].to) < 0)
            child_fail(plan, "give it a descriptor");
    }
    for (size_t i = 0; i < plan->nfds; i++) {
        unsigned to = (unsigned)plan->fds[i].to;

        if (to > next)
            child_close_range(next, to - 1);
        next = to + 1;
    }
    child_close_range(next, ~0u);
}

/* Source: landlock_restrict_self(2). */
static void
child_confine(struct process_plan *plan)
{
    if (plan->confine_fd > 0 &&
        (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
         syscall(SYS_landlock_restrict_self, plan->confine_fd, 0u) < 0))
        child_fail(plan, "confine it");
}

/* Source: prctl(2), PR_SET_PDEATHSIG: kept by execve, as long as that gives no rights. */
static void
child_follow_parent(struct process_plan *plan)
{
    if (plan->parent <= 0)
        return;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        child_fail(plan, "have it end with us");
    errno = ESRCH;
    if (getppid() != plan->parent) /* it died before that */
        child_fail(plan, "have it end with us");
}

_Noreturn static void
child_run(struct process_plan *plan)
{
    child_reset_signals();
    child_reset_oom_score();
    if (plan->new_session && setsid() < 0)
        child_fail(plan, "give it a session");
    /* "0" is whoever writes it: cgroup-v2.rst of Linux, "cgroup.procs". */
    if (plan->cgroup_fd > 0 && write(plan->cgroup_fd, "0", 1) != 1)
        child_fail(plan, "put it in its cgroup");
    child_confine(plan);
    child_follow_parent(plan);
    child_map_fds(plan);
    (void)execve(plan->path, plan->argv, plan->env);
    child_fail(plan, "execute it");
}

/* Kept apart and never inlined: the child writes only to frames below this one. No signal
 * may arrive before the child has its own handlers, as handlers would run in our memory.
 */
__attribute__((noinline)) pid_t
process_vfork(struct process_plan *plan)
{
    sigset_t all, before;
    pid_t pid;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid = vfork();
    if (pid == 0)
        child_run(plan);
    if (pid < 0)
        pid = -errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

pid_t
process_fork(struct process_plan *plan, int (*call)(void *arg), void *arg)
{
    sigset_t all, before;
    pid_t pid;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        child_reset_signals();
        if (plan->nfds)
            child_map_fds(plan);
        else
            child_close_range(0, ~0u);
        _exit(call(arg) & 0xff);
    }
    if (pid < 0)
        pid = -errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}
