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
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/proc/login.h"

extern char **environ;

#define CHILD_ALIVE_FD 3

/* What the child has to say; in a shared mapping. */
struct exec_shared {
    volatile int error; /* 0: nothing went wrong yet */
    bool is_whole;      /* the words need no text of the error */
    char words[VMT_ERR_MSG_MAX];
};

/* What the child works with: its own copy of all of it. */
struct child {
    const struct exec_spec *spec;
    struct exec_shared *shared;
    int alive; /* writing end of a pipe that exec or death closes */
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

static void __attribute__((noreturn)) child_fail(const struct child *c, const char *stage)
{
    int code = errno;

    (void)snprintf(c->shared->words, sizeof(c->shared->words), "%s", stage);
    c->shared->error = code ? code : EIO;
    _exit(127);
}

/* A kernel without the file kills whom it likes. */
static void
child_set_oom(int adj)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%d", adj);
    (void)file_write("/proc/self/oom_score_adj", text);
}

static void
child_find_login(const struct child *c, struct login *login)
{
    const struct exec_as *as = &c->spec->as;
    struct vmt_err err;
    int r = login_find(as->user ? as->user : "", as->group ? as->group : "", login, &err);

    if (r == 0)
        return;
    c->shared->is_whole = true;
    errno = -r;
    child_fail(c, err.msg);
}

/* The calls of the kernel, not those of libc, which would tell its other threads. */
static void
child_become(const struct child *c, const struct login *l)
{
    const struct exec_as *as = &c->spec->as;

    for (size_t i = 0; i < as->nrlimits; i++)
        if (setrlimit(as->rlimits[i].resource, &as->rlimits[i].limit) < 0)
            child_fail(c, "setrlimit");
    if (as->oom_score_adj)
        child_set_oom(as->oom_score_adj);
    if (l && (syscall(SYS_setgroups, l->ngroups, l->groups) < 0 ||
              syscall(SYS_setresgid, l->gid, l->gid, l->gid) < 0 ||
              syscall(SYS_setresuid, l->uid, l->uid, l->uid) < 0))
        child_fail(c, "change user");
    if (as->cwd && chdir(as->cwd) < 0)
        child_fail(c, "chdir");
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

/* Search PATH as execvp does. NULL: errno says why. */
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

/* A machine without a console still runs programs that would like to have one. */
static int
open_stdio(bool use_console)
{
    int fd = use_console ? open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;

    return fd < 0 ? open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC) : fd;
}

/* 0 to 2, and the end of the pipe after them. */
static void
child_descriptors(const struct child *c)
{
    int stdio = open_stdio(c->spec->use_console);

    if (stdio < 0)
        child_fail(c, "open /dev/null");
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(stdio, fd) < 0)
            child_fail(c, "dup2");
    }
    if (c->alive != CHILD_ALIVE_FD && dup3(c->alive, CHILD_ALIVE_FD, O_CLOEXEC) < 0)
        child_fail(c, "dup3");
    (void)syscall(SYS_close_range, CHILD_ALIVE_FD + 1u, ~0u, 0u);
}

static bool
is_given(char *const *pairs, const char *pair)
{
    size_t len = strcspn(pair, "=") + 1;

    for (; pairs && *pairs; pairs++)
        if (strncmp(*pairs, pair, len) == 0)
            return true;
    return false;
}

/* NAME=VALUE over our own environment; of two the first one counts. NULL: no memory. */
static char **
child_env(char *const *pairs, const struct login *l)
{
    struct vmt_argv env = {0};

    for (size_t i = 0; pairs && pairs[i]; i++)
        vmt_argv_add(&env, pairs[i]);
    if (l && *l->name) {
        const char *const rows[][2] = {
            {"HOME", *l->home ? l->home : "/"},
            {"USER", l->name},
            {"LOGNAME", l->name},
            {"SHELL", *l->shell ? l->shell : "/bin/sh"},
        };

        for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
            char pair[2 * LOGIN_TEXT_MAX];

            (void)snprintf(pair, sizeof(pair), "%s=%s", rows[i][0], rows[i][1]);
            if (!is_given(pairs, pair))
                vmt_argv_add(&env, pair);
        }
    }
    for (size_t i = 0; environ && environ[i]; i++)
        if (!is_given(env.v, environ[i]))
            vmt_argv_add(&env, environ[i]);
    if (vmt_argv_finish(&env, NULL) < 0)
        return NULL;
    return env.v ? env.v : calloc(1, sizeof(*env.v));
}

/* A copy of us, which has one thread: it may use the library, and wait for a disk. */
static void __attribute__((noreturn)) child_run(const struct child *c)
{
    const struct exec_as *as = &c->spec->as;
    struct login login, *l = as->user || as->group ? &login : NULL;
    char searched[PATH_MAX], **env;
    const char *path;

    if (c->spec->dies_with_us)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setsid() < 0)
        child_fail(c, "setsid");
    child_descriptors(c);
    if (c->spec->own_terminal)
        (void)ioctl(0, TIOCSCTTY, 1);
    if (l)
        child_find_login(c, l);
    env = child_env(c->spec->env, l);
    if (!env)
        child_fail(c, "environment");
    (void)umask(022);
    child_become(c, l);
    exec_reset_signals();
    path = find_program(c->spec->argv[0], env, searched);
    if (!path)
        child_fail(c, "find it in PATH");
    (void)execve(path, c->spec->argv, env);
    child_fail(c, "exec");
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
 * every CPU has seen it. Source: clone(2), clone3, CLONE_INTO_CGROUP. */
static pid_t
clone_into(const struct child *c, int cgroup)
{
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

    if (pid == 0)
        child_run(c);
    return pid;
}

static pid_t
start_child(const struct child *c)
{
    int cgroup = c->spec->cgroup;
    pid_t pid = -1;

    if (cgroup >= 0 && !group_is_frozen(cgroup))
        pid = clone_into(c, cgroup);
    if (pid >= 0)
        return pid;
    pid = fork(); /* a program outside of its group is better than none */
    if (pid == 0)
        child_run(c);
    return pid;
}

/* NULL: no memory. */
static struct exec_shared *
shared_new(void)
{
    void *p = mmap(NULL, sizeof(struct exec_shared), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void
exec_child_done(struct exec_child *child)
{
    if (!child->shared)
        return;
    (void)munmap(child->shared, sizeof(*child->shared));
    child->shared = NULL;
    vmt_closep(&child->fd);
}

int
exec_start(const struct exec_spec *spec, struct exec_child *ret_child,
           struct vmt_err *err)
{
    VMT_CLEANUP(exec_child_done) struct exec_child child = {.shared = shared_new()};
    VMT_CLEANUP(vmt_closep) int alive = -1;
    struct child c = {.spec = spec, .shared = child.shared};
    sigset_t all, old;
    int ends[2], code;

    child.fd = -1;
    if (!child.shared)
        return vmt_err_set(err, ENOMEM, "start %.256s", spec->argv[0]);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return vmt_err_set(err, errno, "start %.256s", spec->argv[0]);
    child.fd = ends[0];
    alive = ends[1];
    c.alive = alive;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all,
                      &old); /* our handlers must not run in the child */
    child.pid = start_child(&c);
    code = errno;
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    if (child.pid < 0)
        return vmt_err_set(err, code, "start %.256s", spec->argv[0]);
    *ret_child = child;
    child.shared = NULL;
    return 0;
}

int
exec_result(const struct exec_child *child, const char *name, struct vmt_err *err)
{
    const struct exec_shared *s = child->shared;

    if (!s || !s->error)
        return 0;
    return s->is_whole ? vmt_err_setx(err, s->error, "start %.256s: %s", name, s->words)
                       : vmt_err_set(err, s->error, "start %.256s: %s", name, s->words);
}

int
exec_start_and_wait(const struct exec_spec *spec, pid_t *ret_pid, struct vmt_err *err)
{
    VMT_CLEANUP(exec_child_done) struct exec_child child = {.shared = NULL};
    struct pollfd decided;
    int r = exec_start(spec, &child, err);

    if (r < 0)
        return r;
    decided = (struct pollfd){.fd = child.fd, .events = POLLIN};
    while (poll(&decided, 1, -1) < 0 && errno == EINTR)
        ;
    *ret_pid = child.pid;
    return exec_result(&child, spec->argv[0], err);
}
