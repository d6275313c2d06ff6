/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/place.c - make things below one folder, and nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/copy/copy_internal.h"

/* The folder that path is in, "." or "/" when it has none, malloc'ed. */
static char *
folder_of(const char *path)
{
    size_t end = strlen(path);

    while (end > 1 && path[end - 1] == '/')
        end--;
    while (end > 0 && path[end - 1] != '/')
        end--;
    return end == 0 ? strdup(".") : strndup(path, end);
}

static int
open_base(struct place *place, const char *path, struct vmt_err *err)
{
    place->base = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place->base < 0)
        return vmt_err_set(err, errno, "%s", path);
    return 0;
}

int
place_open(struct place *place, const struct copy_receive *config, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *folder = NULL;
    const char *path = *config->destination ? config->destination : ".";
    size_t len = strlen(path);
    struct stat st;
    int r;

    *place = (struct place){.base = -1, .shown = path};
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return open_base(place, path, err);
    if (config->want_folder || path[len - 1] == '/')
        return vmt_err_setx(err, ENOTDIR, "%s is no folder", path);
    r = copy_path_name(path, &place->rename);
    if (r < 0)
        return vmt_err_setx(err, -r, "%s is no name for a copy", path);
    folder = folder_of(path);
    return folder ? open_base(place, folder, err) : vmt_err_set(err, ENOMEM, "copy");
}

void
place_done(struct place *place)
{
    vmt_closep(&place->base);
    free(place->rename);
    *place = (struct place){.base = -1};
}

/* Go down into a folder whose name has len bytes. */
static int
descend(int dir, const char *name, size_t len)
{
    char part[256];
    struct stat st;
    int fd;

    if (len >= sizeof(part))
        return -ENAMETOOLONG;
    memcpy(part, name, len);
    part[len] = '\0';
    fd = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    if (errno == ENOTDIR && fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(st.st_mode))
        return -ELOOP;
    return -errno;
}

int
place_parent(const struct place *place, const char *path, int *ret_dir,
             const char **ret_name)
{
    VMT_CLEANUP(vmt_closep) int dir = fcntl(place->base, F_DUPFD_CLOEXEC, 3);
    const char *first = place->rename;

    if (dir < 0)
        return -errno;
    for (;;) {
        size_t len = strcspn(path, "/");
        const char *part = first ? first : path;
        int next;

        if (path[len] == '\0') {
            *ret_name = part;
            *ret_dir = vmt_take_fd(&dir);
            return 0;
        }
        next = descend(dir, part, first ? strlen(first) : len);
        if (next < 0)
            return next;
        (void)close(dir);
        dir = next;
        first = NULL;
        path += len + 1;
    }
}

void
place_temporary(struct place *place, char name[TEMPORARY_MAX])
{
    (void)snprintf(name, TEMPORARY_MAX, COPY_TEMPORARY "%d.%u", (int)getpid(),
                   place->temporary++);
}

mode_t
place_mode(uint32_t mode)
{
    mode_t mask = umask(0);

    (void)umask(mask);
    return (mode_t)mode & ~mask;
}

/* Slashes of the path: how deep below the place it is. */
static size_t
depth_of(const char *path)
{
    size_t depth = 0;

    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

/* Remember, or forget, which folder of this depth is the copy's own. */
static void
note_made(struct place *place, const char *path, int dir, const char *name)
{
    struct place_made *made = &place->made[depth_of(path)];
    struct stat st;

    *made = (struct place_made){0};
    if (dir >= 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        *made = (struct place_made){.dev = st.st_dev, .ino = st.st_ino};
}

static bool
was_made(const struct place *place, const char *path, int fd)
{
    const struct place_made *made = &place->made[depth_of(path)];
    struct stat st;

    return fstat(fd, &st) == 0 && made->ino == st.st_ino && made->dev == st.st_dev;
}

/* Only what a copy makes is replaced: never a device, a pipe or a folder. */
static int
check_target(int dir, const char *name, bool keep)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (keep)
        return -EEXIST;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    return S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) ? 0 : -ENXIO;
}

int
place_commit(int dir, const char *temporary, const char *name, bool keep)
{
    int r = check_target(dir, name, keep);

    if (r == 0 && renameat(dir, temporary, dir, name) < 0)
        r = -errno;
    /* Two names of one file are left alone by rename. */
    (void)unlinkat(dir, temporary, 0);
    return r;
}

int
place_folder(struct place *place, const struct copy_entry *entry)
{
    VMT_CLEANUP(vmt_closep) int dir = -1;
    const char *name;
    struct stat st;
    int r = place_parent(place, entry->path, &dir, &name);

    if (r < 0)
        return r;
    if (mkdirat(dir, name, 0700) == 0) {
        note_made(place, entry->path, dir, name);
        return 0;
    }
    if (errno != EEXIST)
        return -errno;
    note_made(place, entry->path, -1, NULL);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return -ELOOP;
    return S_ISDIR(st.st_mode) ? 0 : -EEXIST;
}

int
place_folder_end(const struct place *place, const struct copy_entry *entry)
{
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = entry->mtime_s, .tv_nsec = (long)entry->mtime_ns},
    };
    VMT_CLEANUP(vmt_closep) int dir = -1;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    const char *name;
    int r = place_parent(place, entry->path, &dir, &name);

    if (r < 0)
        return r;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* Who may enter a folder that was there before is not for the other side to say. */
    if (was_made(place, entry->path, fd) && fchmod(fd, place_mode(entry->mode)) < 0)
        return -errno;
    return futimens(fd, times) < 0 ? -errno : 0;
}

int
place_symlink(struct place *place, const struct copy_entry *entry, bool keep)
{
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = entry->mtime_s, .tv_nsec = (long)entry->mtime_ns},
    };
    VMT_CLEANUP(vmt_closep) int dir = -1;
    char temporary[TEMPORARY_MAX];
    const char *name;
    int r = place_parent(place, entry->path, &dir, &name);

    if (r < 0)
        return r;
    place_temporary(place, temporary);
    if (symlinkat(entry->target, dir, temporary) < 0)
        return -errno;
    (void)utimensat(dir, temporary, times, AT_SYMLINK_NOFOLLOW);
    return place_commit(dir, temporary, name, keep);
}

int
place_hardlink(struct place *place, const struct copy_entry *entry, bool keep)
{
    VMT_CLEANUP(vmt_closep) int dir = -1;
    VMT_CLEANUP(vmt_closep) int target_dir = -1;
    char temporary[TEMPORARY_MAX];
    const char *name = "", *target = "";
    int r = place_parent(place, entry->path, &dir, &name);

    if (r == 0)
        r = place_parent(place, entry->target, &target_dir, &target);
    if (r < 0)
        return r;
    place_temporary(place, temporary);
    /* Without AT_SYMLINK_FOLLOW: a link is what gets another name, not what it points to.
     */
    if (linkat(target_dir, target, dir, temporary, 0) < 0)
        return -errno;
    return place_commit(dir, temporary, name, keep);
}
