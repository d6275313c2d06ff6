/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/cgroup_tree.c - the cgroup that the daemon is in, and its limits.
 * Version 2 only: version 1 cannot be delegated safely, and no distribution that we build
 * for boots with it. Source: Documentation/admin-guide/cgroup-v2.rst of Linux 6.1. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/host/host_internal.h"

/* Deeper nesting than this is nobody's, and costs a look each second. */
#define DEPTH_MAX 16

/* Alone, or beside the controllers of version 1. */
static const char *
find_mount(const struct linux_host *self)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char path[PATH_MAX];

    for (size_t i = 0; i < VMT_ARRAY_SIZE(places); i++) {
        (void)snprintf(path, sizeof(path), "%s%s/cgroup.controllers", self->sys_root,
                       places[i]);
        if (access(path, F_OK) == 0)
            return places[i];
    }
    return NULL;
}

int
linux_host_own_cgroup(const struct linux_host *self, char *path, size_t cap,
                      size_t *ret_mount_len)
{
    const char *mount = find_mount(self);
    char text[LINUX_HOST_TEXT_MAX], *line, *end;
    int n;

    if (!mount)
        return -ENOENT;
    linux_host_read_text(self, "/proc/self/cgroup", text);
    line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    line = line ? strchr(line, '/') : NULL;
    if (!line)
        return -ENOENT;
    end = strchr(line, '\n');
    if (end)
        *end = '\0';
    if (strstr(line, "/..")) /* outside of what our namespace shows */
        return -ENOENT;
    *ret_mount_len = strlen(mount);
    n = snprintf(path, cap, "%s%s", mount, strcmp(line, "/") == 0 ? "" : line);
    return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

void
linux_host_cgroups_up(const struct linux_host *self,
                      void (*fn)(void *arg, const struct linux_host *self,
                                 const char *path),
                      void *arg)
{
    char path[PATH_MAX];
    size_t mount_len;

    if (linux_host_own_cgroup(self, path, sizeof(path), &mount_len) < 0)
        return;
    for (int i = 0; i < DEPTH_MAX && strlen(path) >= mount_len; i++) {
        fn(arg, self, path);
        *strrchr(path, '/') = '\0';
    }
}
