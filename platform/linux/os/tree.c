/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/tree.c - make and remove directory trees. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/dir.h"
#include "platform/linux/os/paths.h"

/* Deeper than any tree of ours; each level holds one descriptor. */
#define TREE_DEPTH_MAX 64

/* What is there may be a directory or a link to one. */
static int
tree_make_one(const char *path, unsigned mode)
{
    struct stat st;

    if (mkdir(path, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int
os_mkdir_p(const char *path, unsigned mode, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *copy = strdup(path);
    int r;

    if (!copy)
        return vmt_err_set(err, ENOMEM, "make directory %s", path);
    for (char *p = copy + (*copy == '/');; p++) {
        char end = *p;

        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        r = *copy ? tree_make_one(copy, mode) : 0;
        if (r < 0)
            return vmt_err_set(err, -r, "make directory %s", copy);
        *p = end;
        if (!end)
            return 0;
    }
}

static int tree_empty(int dir_fd, unsigned depth);

/* Remove one entry, whatever it is. A link is removed, never followed. */
static int
tree_remove_entry(int parent_fd, const char *name, unsigned depth)
{
    int fd, r;

    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (depth == TREE_DEPTH_MAX)
        return -ELOOP;
    fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = tree_empty(fd, depth + 1); /* takes fd over */
    if (r < 0)
        return r;
    return unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int
tree_empty(int dir_fd, unsigned depth)
{
    VMT_CLEANUP(os_closedirp) DIR *dir = fdopendir(dir_fd);
    struct dirent *entry;
    int r = 0;

    if (!dir) {
        r = -errno;
        (void)close(dir_fd);
        return r;
    }
    while (r == 0 && (errno = 0, entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = tree_remove_entry(dirfd(dir), entry->d_name, depth);
    }
    return r < 0 ? r : -errno;
}

int
os_remove_tree(const char *path, struct vmt_err *err)
{
    int r = tree_remove_entry(AT_FDCWD, path, 0);

    return r < 0 ? vmt_err_set(err, -r, "remove %s", path) : 0;
}
