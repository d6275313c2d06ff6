/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/maitred/proc/login.h"

extern char **environ;

/* For exec in a control group, which others may freeze at any time. */
#define EXEC_WAIT_MS 2000
#define CHILD_ALIVE_FD 3

/* What child and parent share until exec, in a shared mapping: a vfork child runs in our
 * memory, one that was born into a control group does not. */
struct exec_shared {
    const struct exec_spec *spec;
    int stdio; /* becomes 0, 1 and 2 */
    int alive; /* writing end of a pipe that exec or death closes; -1: none */
    volatile int error;
    const char *volatile stage;
};

void
exec_reset_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int sig = 1; sig <= SIGRTMAX; sig++)
        (void)sigaction(sig, &dfl, NULL); /* refused for KILL, STOP and libc's own */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
child_fail(struct exec_shared *s, const char *stage)
{
    s->error = errno;
    s->stage = stage;
    _exit(127);
}

/* Digits of n, made by hand: a vfork child leaves the library alone. */
static size_t
format_int(char text[12], int n)
{
    unsigned left = n < 0 ? 0u - (unsigned)n : (unsigned)n;
    char *at = text + 12;
    size_t len;

    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (n < 0)
        *--at = '-';
    len = (size_t)(text + 12 - at);
    memmove(text, at, len);
    return len;
}

/* A kernel without the file kills whom it likes. */
static void
child_set_oom(int adj)
{
    char text[12];
    size_t len = format_int(text, adj);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : write(fd, text, len);

    (void)n;
    if (fd >= 0)
        (void)close(fd);
}

/* The calls of the kernel, not those of libc, which would tell its other threads. */
static void
child_become(struct exec_shared *s)
{
    const struct exec_as *as = &s->spec->as;
    const struct login *l = as->login;

    for (size_t i = 0; i < as->nrlimits; i++)
        if (setrlimit(as->rlimits[i].resource, &as->rlimits[i].limit) < 0)
            child_fail(s, "setrlimit");
    if (as->oom_score_adj)
        child_set_oom(as->oom_score_adj);
    if (l && (syscall(SYS_setgroups, l->ngroups, l->groups) < 0 ||
              syscall(SYS_setresgid, l->gid, l->gid, l->gid) < 0 ||
              syscall(SYS_setresuid, l->uid, l->uid, l->uid) < 0))
        child_fail(s, "change user");
    if (as->cwd && chdir(as->cwd) < 0)
        child_fail(s, "chdir");
}

static const char *
env_find(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; *env; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    }
    return NULL;
}

/* dir (ndir bytes), a slash and name. False: it does not fit. */
static bool
join(char path[PATH_MAX], const char *dir, size_t ndir, const char *name)
{
    size_t nname = strlen(name);

    if (ndir + nname + 2 > PATH_MAX)
        return false;
    memcpy(path, dir, ndir);
    path[ndir] = '/';
    memcpy(path + ndir + 1, name, nname + 1);
    return true;
}

/* Search PATH as execvp does; in the child, since it reads the disk. NULL: errno says
 * why. */
static const char *
find_program(const char *name, char *const *env, char path[PATH_MAX])
{
    const char *dirs = env_find(env, "PATH");
    int code = ENOENT;

    if (strchr(name, '/'))
        return name;
    while (dirs && *dirs) {
        size_t len = strcspn(dirs, ":");

        if (join(path, dirs, len, name)) {
            if (access(path, X_OK) == 0)
                return path;
            code = errno == EACCES ? EACCES : code;
        }
        dirs += len + (dirs[len] == ':');
    }
    errno = code;
    return NULL;
}

/* In the vfork child: system calls only; no memory of the parent but shared is changed.
 */
static void
child_run(struct exec_shared *s)
{
    char searched[PATH_MAX];
    const char *path;

    if (setsid() < 0)
        child_fail(s, "setsid");
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(s->stdio, fd) < 0)
            child_fail(s, "dup2");
    }
    if (s->spec->own_terminal)
        (void)ioctl(0, TIOCSCTTY, 1);
    if (s->alive >= 0 && s->alive != CHILD_ALIVE_FD &&
        dup3(s->alive, CHILD_ALIVE_FD, O_CLOEXEC) < 0)
        child_fail(s, "dup3");
    (void)syscall(SYS_close_range, s->alive >= 0 ? CHILD_ALIVE_FD + 1u : 3u, ~0u, 0u);
    (void)umask(022);
    child_become(s);
    exec_reset_signals();
    path = find_program(s->spec->argv[0], s->spec->env, searched);
    if (!path)
        child_fail(s, "find it in PATH");
    (void)execve(path, s->spec->argv, s->spec->env);
    child_fail(s, "exec");
}

/* A function of its own: vfork returns twice, and no local of its caller may change in
 * between. */
static pid_t __attribute__((noinline)) vfork_child(struct exec_shared *shared)
{
    pid_t pid = vfork();

    if (pid == 0)
        child_run(shared);
    return pid;
}

/* Would a child of this group stand still before exec? A group that cannot tell does not
 * stop it. Source: Linux 6.1, Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze. */
static bool
group_says_frozen(int cgroup, const char *file)
{
    VMT_CLEANUP(vmt_closep) int fd = openat(cgroup, file, O_RDONLY | O_CLOEXEC);
    char c = '0';

    return fd >= 0 && read(fd, &c, 1) == 1 && c == '1';
}

static bool
group_is_frozen(int cgroup)
{
    return group_says_frozen(cgroup, "cgroup.freeze") ||
           group_says_frozen(cgroup, "../cgroup.freeze");
}

/* To be born in the group costs less than to move there, for which the kernel waits until
 * every CPU has seen it. The child has a copy of our memory: we need not wait for its
 * exec but to learn of errors, and wait no longer than EXEC_WAIT_MS, since the group may
 * be frozen in the meantime, or a group above it. The child then goes on when it is
 * thawed, and exits with 127 if exec fails. Returns -1: not started. Source: clone(2),
 * clone3, CLONE_INTO_CGROUP. */
static pid_t
clone_child(struct exec_shared *shared, int cgroup)
{
    VMT_CLEANUP(vmt_closep) int ours = -1;
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    struct pollfd gone = {.fd = -1};
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    ours = ends[0];
    shared->alive = ends[1];
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0)
        child_run(shared);
    (void)close(ends[1]);
    gone.fd = ours;
    if (pid > 0)
        (void)poll(&gone, 1, EXEC_WAIT_MS);
    else
        shared->alive = -1;
    return pid;
}

static pid_t
start_child(struct exec_shared *shared)
{
    int cgroup = shared->spec->cgroup;
    pid_t pid = -1;

    if (cgroup >= 0 && !group_is_frozen(cgroup))
        pid = clone_child(shared, cgroup);
    /* A program outside of its group is better than none. */
    return pid < 0 ? vfork_child(shared) : pid;
}

/* A machine without a console still runs programs that would like to have one. */
static int
open_stdio(bool use_console)
{
    int fd = use_console ? open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;

    return fd < 0 ? open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC) : fd;
}

static void
shared_freep(struct exec_shared **shared)
{
    if (*shared)
        (void)munmap(*shared, sizeof(**shared));
}

/* NULL: no memory. */
static struct exec_shared *
shared_new(void)
{
    void *p = mmap(NULL, sizeof(struct exec_shared), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

int
exec_start(const struct exec_spec *spec, pid_t *ret_pid, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int stdio = open_stdio(spec->use_console);
    VMT_CLEANUP(shared_freep) struct exec_shared *shared = shared_new();
    sigset_t all, old;
    pid_t pid;
    int r;

    if (stdio < 0)
        return vmt_err_set(err, errno, "open /dev/null");
    if (!shared)
        return vmt_err_set(err, ENOMEM, "start %s", spec->argv[0]);
    *shared = (struct exec_shared){.spec = spec, .stdio = stdio, .alive = -1};
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all,
                      &old); /* our handlers must not run in the child */
    pid = start_child(shared);
    r = errno;
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return vmt_err_set(err, r, "start %s", spec->argv[0]);
    if (shared->error)
        return vmt_err_set(err, shared->error, "start %.256s: %s", spec->argv[0],
                           shared->stage);
    *ret_pid = pid;
    return 0;
}

static size_t
count(char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

char **
exec_env(char *const *pairs)
{
    size_t nown = count(environ), npairs = count(pairs), n = npairs;
    char **env = calloc(nown + npairs + 1, sizeof(*env));

    if (!env)
        return NULL;
    if (npairs)
        memcpy(env, pairs, npairs * sizeof(*env));
    for (size_t i = 0; i < nown; i++) { /* what the pairs set already is left out */
        size_t len = strcspn(environ[i], "=");
        bool taken = false;

        for (size_t k = 0; k < npairs && !taken; k++)
            taken = strncmp(pairs[k], environ[i], len + 1) == 0;
        if (!taken)
            env[n++] = environ[i];
    }
    return env;
}
