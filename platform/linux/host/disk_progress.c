/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/disk_progress.c - logs of disk workers. They are files and not
 * pipes, because a pipe is lost with the daemon that reads it. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/process.h"

#define PROGRESS_FD 3 /* of a worker */

/* NULL without memory, or for a name that is no plain one. */
static char *
path_of(struct host *host, const char *name, const char *suffix)
{
    struct linux_host *self = VMT_CONTAINER_OF(host, struct linux_host, base);
    char *path;

    if (!*name || *name == '.' || strchr(name, '/'))
        return NULL;
    return asprintf(&path, "%s/%s%s", self->progress_dir, name, suffix) < 0 ? NULL : path;
}

int
linux_host_progress_path(struct host *host, const char *name, char **ret_path,
                         struct vmt_err *err)
{
    char *path = path_of(host, name, "");

    if (!path)
        return vmt_err_set(err, ENOMEM, "name the log of a disk operation");
    *ret_path = path;
    return 0;
}

int
linux_host_progress_each(struct host *host, void (*fn)(void *arg, const char *name),
                         void *arg, struct vmt_err *err)
{
    struct linux_host *self = VMT_CONTAINER_OF(host, struct linux_host, base);
    struct dirent **list = NULL;
    int n = scandir(self->progress_dir, &list, NULL, alphasort);

    if (n < 0)
        return vmt_err_set(err, errno, "list the logs of disk operations");
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] != '.')
            fn(arg, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return 0;
}

/* With what a cut left beside it, see logs.c. */
void
linux_host_progress_remove(struct host *host, const char *name)
{
    VMT_CLEANUP(vmt_freep) char *path = path_of(host, name, "");
    VMT_CLEANUP(vmt_freep) char *kept = path_of(host, name, ".1");

    if (path)
        (void)unlink(path);
    if (kept)
        (void)unlink(kept);
}

static bool
writes_to(int32_t pid, const struct stat *log)
{
    char link[64];
    struct stat st;

    (void)snprintf(link, sizeof(link), "/proc/%d", pid);
    if (pid == getpid() || stat(link, &st) < 0 || st.st_uid != geteuid())
        return false;
    (void)snprintf(link, sizeof(link), "/proc/%d/fd/%d", pid, PROGRESS_FD);
    return stat(link, &st) == 0 && st.st_dev == log->st_dev && st.st_ino == log->st_ino;
}

int
linux_host_progress_writer(struct host *host, const char *name, struct spawn_id *ret_id)
{
    VMT_CLEANUP(vmt_freep) char *path = path_of(host, name, "");
    struct stat log;
    DIR *proc;
    int r = -ESRCH;

    if (!path || lstat(path, &log) < 0)
        return -ESRCH;
    proc = opendir("/proc");
    if (!proc)
        return -ESRCH;
    for (struct dirent *e = readdir(proc); e && r < 0; e = readdir(proc)) {
        uint64_t pid;

        if (vmt_parse_u64(e->d_name, INT32_MAX, &pid) < 0 ||
            !writes_to((int32_t)pid, &log))
            continue;
        ret_id->pid = (int32_t)pid;
        r = os_process_start_time(ret_id->pid, &ret_id->start_time);
    }
    (void)closedir(proc);
    return r < 0 ? -ESRCH : 0;
}
