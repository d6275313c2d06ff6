/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/sched.h>

#include "core/base/cleanup.h"
#include "platform/linux/os/paths.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
/* Groups that outlive their session wait here to be removed; above that they stay. */
#define LEFT_MAX 256u

static char *left[LEFT_MAX]; /* owned paths; of the process */
static size_t nleft;

/* Our own group: "0::/path" is the line of cgroup v2, see cgroups(7). */
static int
own_group(char *ret_path, size_t cap)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    unsigned long len;
    const char *line;
    int r = os_read_file("/proc/self/cgroup", 4096, &text, &len, NULL);

    if (r < 0)
        return r;
    line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return -ENOENT;
    line = strchr(line, '/');
    if (!line ||
        (size_t)snprintf(ret_path, cap, "%.*s", (int)strcspn(line, "\n"), line) >= cap)
        return -ENAMETOOLONG;
    if (strcmp(ret_path, "/") == 0)
        *ret_path = '\0';
    return 0;
}

int
session_cgroup_make(uint32_t id, char *ret_path)
{
    char own[SESSION_CGROUP_MAX - 32], dir[SESSION_CGROUP_MAX + 32];
    struct statfs fs;
    int r = own_group(own, sizeof(own));

    *ret_path = '\0';
    if (r < 0)
        return r;
    if (statfs(CGROUP_ROOT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
        return -ENOENT; /* of the first version, or with both */
    /* The pid tells a vshd from the one before it, whose sessions may have left jobs. */
    (void)snprintf(dir, sizeof(dir), CGROUP_ROOT "%s/vsh-%d-%u", own, (int)getpid(), id);
    if (mkdir(dir, 0755) < 0)
        return -errno;
    (void)snprintf(ret_path, SESSION_CGROUP_MAX, "%s", dir + strlen(CGROUP_ROOT));
    return 0;
}

/* Move the calling process. The session runs all the same where that fails. */
static void
group_join(const char *path)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char procs[SESSION_CGROUP_MAX + 64];

    (void)snprintf(procs, sizeof(procs), CGROUP_ROOT "%s/cgroup.procs", path);
    fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "0", 1) < 0)
        return;
}

/* A child that is born in the group: Linux 5.7, clone(2). To move a process later makes
 * the kernel wait until every CPU has scheduled (cgroup_threadgroup_rwsem), which took
 * 11 ms of each command in an emulated guest of Linux 6.1. No library call does this
 * before glibc 2.39; the child has what fork gives it but for glibc's own notion of its
 * thread id, which nobody asks for before exec. */
static pid_t
group_fork(const char *path)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
    char dir[SESSION_CGROUP_MAX + 32];

    (void)snprintf(dir, sizeof(dir), CGROUP_ROOT "%s", path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    args.cgroup = (uint64_t)fd;
    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

pid_t
session_cgroup_fork(const char *path)
{
    pid_t pid = *path ? group_fork(path) : -1;

    if (pid >= 0)
        return pid;
    pid = fork();
    if (pid == 0 && *path)
        group_join(path);
    return pid;
}

/* Returns whether it is gone. */
static bool
group_remove(const char *path)
{
    char dir[SESSION_CGROUP_MAX + 32];

    (void)snprintf(dir, sizeof(dir), CGROUP_ROOT "%s", path);
    return rmdir(dir) == 0 || errno == ENOENT;
}

void
session_cgroup_remove(const char *path)
{
    size_t kept = 0;

    for (size_t i = 0; i < nleft; i++) {
        if (group_remove(left[i]))
            free(left[i]);
        else
            left[kept++] = left[i];
    }
    nleft = kept;
    if (*path == '\0' || group_remove(path) || nleft == LEFT_MAX)
        return;
    left[nleft] = strdup(path);
    if (left[nleft])
        nleft++;
}
