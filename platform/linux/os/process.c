/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/process.c - struct spawn: start, adopt, watch and reap by pidfd. */
#include "platform/linux/os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process_internal.h"

#ifndef P_PIDFD
#define P_PIDFD 3 /* linux/wait.h; glibc has it since 2.36 */
#endif

struct os_spawn {
    struct spawn base;
    struct os_loop *loop;     /* borrowed */
    struct vmt_list children; /* struct spawn_child, owned */
};

struct spawn_child {
    struct vmt_list node;
    struct spawn_id id;
    struct event *ev;       /* owned */
    spawn_exit_fn *on_exit; /* NULL: released */
    void *arg;              /* borrowed */
    int pidfd;              /* owned */
};

static void
child_free(struct spawn_child *child)
{
    if (!child)
        return;
    vmt_list_remove(&child->node);
    if (child->ev)
        event_free(child->ev);
    vmt_closep(&child->pidfd);
    free(child);
}

VMT_DEFINE_FREEP(struct spawn_child, child_free)

int
os_process_start_time(int32_t pid, uint64_t *ret_ticks)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char path[64], text[1024], *p;
    unsigned long long ticks;
    ssize_t n;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return -ESRCH;
    text[n] = '\0';
    /* Field 2 is the name in parentheses and may hold anything, also parentheses and
     * spaces: count from its end. proc(5): field 22 is starttime. */
    p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p, ' ');
        if (p)
            p++;
    }
    if (!p || sscanf(p, "%llu", &ticks) != 1)
        return -ESRCH;
    *ret_ticks = ticks;
    return 0;
}

/* Reap when it is our child; the exit of anybody else's leaves only the fact. */
static void
child_on_exit(evutil_socket_t fd, short what, void *arg)
{
    VMT_CLEANUP(child_freep) struct spawn_child *child = arg;
    struct spawn_exit how = {SPAWN_EXIT_UNKNOWN, 0};
    siginfo_t info = {0};
    spawn_exit_fn *fn = child->on_exit;
    void *fn_arg = child->arg;
    int r;

    (void)what;
    do {
        r = waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    } while (r < 0 && errno == EINTR);
    if (r == 0 && info.si_pid != 0) {
        how.kind = info.si_code == CLD_EXITED ? SPAWN_EXIT_CODE : SPAWN_EXIT_SIGNAL;
        how.code = info.si_status;
    }
    child_free(vmt_take_ptr(&child));
    if (fn)
        fn(fn_arg, &how);
}

static int
child_watch(struct os_spawn *sp, struct spawn_child *child)
{
    child->pidfd = (int)syscall(SYS_pidfd_open, child->id.pid, 0u);
    if (child->pidfd < 0)
        return -errno;
    child->ev =
        event_new(os_loop_base(sp->loop), child->pidfd, EV_READ, child_on_exit, child);
    if (!child->ev || event_add(child->ev, NULL) < 0)
        return -ENOMEM;
    return 0;
}

static int
child_new(spawn_exit_fn *on_exit, void *arg, struct spawn_child **ret_child)
{
    struct spawn_child *child = calloc(1, sizeof(*child));

    if (!child)
        return -ENOMEM;
    child->pidfd = -1;
    child->on_exit = on_exit;
    child->arg = arg;
    *ret_child = child;
    return 0;
}

static bool
path_is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Find name as execvp does, but before the fork. */
static int
path_find(const char *name, char **ret_path)
{
    const char *dirs = getenv("PATH");
    int r = -ENOENT;

    if (strchr(name, '/')) {
        *ret_path = strdup(name);
        return *ret_path ? 0 : -ENOMEM;
    }
    if (!dirs)
        dirs = "/usr/local/bin:/usr/bin:/bin";
    for (const char *end; *name && dirs; dirs = *end ? end + 1 : NULL) {
        VMT_CLEANUP(vmt_freep) char *path = NULL;

        end = strchrnul(dirs, ':');
        if (asprintf(&path, "%.*s%s%s", (int)(end - dirs), dirs, end == dirs ? "" : "/",
                     name) < 0) {
            path = NULL;
            return -ENOMEM;
        }
        if (path_is_program(path)) {
            *ret_path = vmt_take_ptr(&path);
            return 0;
        }
        if (access(path, F_OK) == 0)
            r = -EACCES;
    }
    return r;
}

static int
plan_fd_compare(const void *a, const void *b)
{
    const struct process_fd *x = a, *y = b;

    return (x->to > y->to) - (x->to < y->to);
}

/* The map of the child; 0, 1 and 2 are null_fd where nothing else was asked, unless that
 * is below 0. */
static int
plan_fds(struct process_plan *plan, const struct spawn_spec *spec, int null_fd)
{
    plan->fds = calloc(spec->nfds + 3, sizeof(*plan->fds));
    if (!plan->fds)
        return -ENOMEM;
    for (size_t i = 0; i < spec->nfds; i++) {
        if (spec->fds[i].from < 0 || spec->fds[i].to < 0)
            return -EBADF;
        plan->fds[plan->nfds++] =
            (struct process_fd){.from = spec->fds[i].from, .to = spec->fds[i].to};
    }
    for (int to = 0; to <= 2 && null_fd >= 0; to++) {
        bool named = false;

        for (size_t i = 0; i < spec->nfds; i++)
            named = named || spec->fds[i].to == to;
        if (!named)
            plan->fds[plan->nfds++] = (struct process_fd){.from = null_fd, .to = to};
    }
    qsort(plan->fds, plan->nfds, sizeof(*plan->fds), plan_fd_compare);
    for (size_t i = 1; i < plan->nfds; i++) {
        if (plan->fds[i].to == plan->fds[i - 1].to)
            return -EINVAL;
    }
    return 0;
}

static void
plan_done(struct process_plan *plan)
{
    free(plan->fds);
}

static void
reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Watch what was started; nobody would ever learn of the end of a child that is not. */
static int
watch_started(struct os_spawn *sp, pid_t pid, struct spawn_child *child)
{
    int r;

    child->id.pid = pid;
    r = child_watch(sp, child);
    if (r < 0) {
        (void)kill(pid, SIGKILL);
        reap(pid);
        return r;
    }
    /* Without /proc the pid alone has to do. */
    (void)os_process_start_time(pid, &child->id.start_time);
    return 0;
}

static int
start_planned(struct os_spawn *sp, struct process_plan *plan, struct spawn_child *child,
              struct vmt_err *err)
{
    pid_t pid = process_vfork(plan);
    int r;

    if (pid < 0)
        return vmt_err_set(err, -pid, "start %s: make a process", plan->path);
    if (plan->failed) {
        reap(pid);
        return vmt_err_set(err, plan->failed, "start %s: %s", plan->path,
                           plan->failed_at);
    }
    r = watch_started(sp, pid, child);
    return r < 0 ? vmt_err_set(err, -r, "start %s: watch the process", plan->path) : 0;
}

static int
start_call(struct os_spawn *sp, const struct spawn_spec *spec,
           struct spawn_child **ret_child, struct vmt_err *err)
{
    VMT_CLEANUP(child_freep) struct spawn_child *child = NULL;
    VMT_CLEANUP(plan_done) struct process_plan plan = {.nfds = 0};
    int r = plan_fds(&plan, spec, -1);
    pid_t pid;

    if (r < 0)
        return vmt_err_set(err, -r, "start a helper process");
    r = child_new(spec->on_exit, spec->arg, &child);
    if (r < 0)
        return vmt_err_set(err, -r, "start a helper process");
    pid = process_fork(&plan, spec->call, spec->call_arg);
    r = pid < 0 ? (int)pid : watch_started(sp, pid, child);
    if (r < 0)
        return vmt_err_set(err, -r, "start a helper process");
    vmt_list_append(&sp->children, &child->node);
    *ret_child = vmt_take_ptr(&child);
    return 0;
}

static int
spawn_start(struct spawn *base, const struct spawn_spec *spec,
            struct spawn_child **ret_child, struct vmt_err *err)
{
    struct os_spawn *sp = VMT_CONTAINER_OF(base, struct os_spawn, base);
    VMT_CLEANUP(child_freep) struct spawn_child *child = NULL;
    VMT_CLEANUP(plan_done)
    struct process_plan plan = {.new_session = spec->new_session,
                                .parent = spec->ends_with_us ? getpid() : 0,
                                .cgroup_fd = spec->cgroup_fd,
                                .confine_fd = spec->confine_fd};
    VMT_CLEANUP(vmt_closep) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    int r = null_fd < 0 ? -errno : 0;

    if (spec->call)
        return start_call(sp, spec, ret_child, err);
    if (r < 0)
        return vmt_err_set(err, -r, "start %s: open /dev/null", spec->argv[0]);
    r = path_find(spec->argv[0], &path);
    if (r < 0)
        return vmt_err_set(err, -r, "start %s: look in PATH", spec->argv[0]);
    r = plan_fds(&plan, spec, null_fd);
    if (r < 0)
        return vmt_err_set(err, -r, "start %s: prepare its descriptors", path);
    r = child_new(spec->on_exit, spec->arg, &child);
    if (r < 0)
        return vmt_err_set(err, -r, "start %s", path);
    plan.path = path;
    /* execve takes them as not const, and leaves them alone. */
    plan.argv = (char *const *)(uintptr_t)spec->argv;
    plan.env = spec->env ? (char *const *)(uintptr_t)spec->env : environ;
    r = start_planned(sp, &plan, child, err);
    if (r < 0)
        return r;
    vmt_list_append(&sp->children, &child->node);
    *ret_child = vmt_take_ptr(&child);
    return 0;
}

static int
spawn_adopt(struct spawn *base, const struct spawn_id *id, spawn_exit_fn *on_exit,
            void *arg, struct spawn_child **ret_child, struct vmt_err *err)
{
    struct os_spawn *sp = VMT_CONTAINER_OF(base, struct os_spawn, base);
    VMT_CLEANUP(child_freep) struct spawn_child *child = NULL;
    uint64_t start_time;
    int r;

    if (id->pid <= 0)
        return vmt_err_set(err, ESRCH, "adopt process %d", (int)id->pid);
    r = child_new(on_exit, arg, &child);
    if (r < 0)
        return vmt_err_set(err, -r, "adopt process %d", (int)id->pid);
    child->id = *id;
    r = child_watch(sp, child);
    /* Asked after the pidfd is open: the answer is about the process that it names. */
    if (r == 0)
        r = os_process_start_time(id->pid, &start_time);
    if (r == 0 && start_time != id->start_time)
        r = -ESRCH;
    if (r < 0)
        return vmt_err_set(err, -r, "adopt process %d", (int)id->pid);
    vmt_list_append(&sp->children, &child->node);
    *ret_child = vmt_take_ptr(&child);
    return 0;
}

static int
spawn_kill(struct spawn_child *child, int sig)
{
    /* By the pidfd: the pid may belong to somebody else by now. */
    return syscall(SYS_pidfd_send_signal, child->pidfd, sig, NULL, 0u) < 0 ? -errno : 0;
}

static void
spawn_id(const struct spawn_child *child, struct spawn_id *ret_id)
{
    *ret_id = child->id;
}

static void
spawn_release(struct spawn_child *child)
{
    if (child)
        child->on_exit = NULL;
}

static const struct spawn_ops spawn_ops = {
    .start = spawn_start,
    .adopt = spawn_adopt,
    .kill = spawn_kill,
    .id = spawn_id,
    .release = spawn_release,
};

int
os_spawn_new(struct os_loop *loop, struct spawn **ret_spawn, struct vmt_err *err)
{
    struct os_spawn *sp = calloc(1, sizeof(*sp));

    if (!sp)
        return vmt_err_set(err, ENOMEM, "watch processes");
    sp->base.ops = &spawn_ops;
    sp->loop = loop;
    vmt_list_init(&sp->children);
    *ret_spawn = &sp->base;
    return 0;
}

void
os_spawn_free(struct spawn *spawn)
{
    struct os_spawn *sp;

    if (!spawn)
        return;
    sp = VMT_CONTAINER_OF(spawn, struct os_spawn, base);
    VMT_LIST_FOREACH(node, next, &sp->children)
    child_free(VMT_CONTAINER_OF(node, struct spawn_child, node));
    free(sp);
}
