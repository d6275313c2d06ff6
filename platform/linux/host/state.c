/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/state.c - saved states: large files that appear whole. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"

#define BLOCK 512u /* of st_blocks, stat(2) */
#define SMALL_FILE_MAX 262144
#define NICE_LOWEST 19 /* setpriority(2) */
#define TEMP "new."    /* after a dot: no path of a caller's reaches such a file */

static bool
is_path(const char *path)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789=-_./";

    return path[0] != '\0' && path[0] != '/' && path[0] != '.' && !strstr(path, "//") &&
           !strstr(path, "/.") && path[strspn(path, allowed)] == '\0';
}

/* The place of path, malloc'ed. NULL: *ret_error is -EINVAL or -ENOMEM. */
static char *
place_of(struct host *host, const char *path, int *ret_error, struct vmt_err *err)
{
    struct linux_host *self = VMT_CONTAINER_OF(host, struct linux_host, base);
    char *place;

    if (!is_path(path)) {
        *ret_error =
            vmt_err_setx(err, EINVAL, "\"%s\" is no path of a saved state", path);
        return NULL;
    }
    if (asprintf(&place, "%s/%s", self->state_dir, path) >= 0)
        return place;
    *ret_error = vmt_err_set(err, ENOMEM, "find %s", path);
    return NULL;
}

/* A change of content through a descriptor or a path changes the last two, rename(2) and
 * link(2) the last one. */
static int
state_identify(struct host *host, int fd, char *buf, size_t cap, struct vmt_err *err)
{
    struct stat st;
    int n;

    (void)host;
    if (linux_host_look(fd, &st) < 0) /* open(2) asked the server, if there is one */
        return vmt_err_set(err, errno, "look at a file");
    if (!S_ISREG(st.st_mode))
        return vmt_err_setx(err, ENOTSUP, "it is no regular file");
    n = snprintf(buf, cap, "%llx:%llx %lld %lld.%09ld %lld.%09ld",
                 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
                 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                 (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    return n < 0 || (size_t)n >= cap ? vmt_err_set(err, ENOBUFS, "identify a file") : 0;
}

static int
state_path_of(struct host *host, int fd, char *buf, size_t cap, struct vmt_err *err)
{
    char link[64];
    struct stat st;
    ssize_t n;

    (void)host;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, buf, cap - 1);
    if (n < 0)
        return vmt_err_set(err, errno, "find the path of a file");
    buf[n] = '\0';
    if (linux_host_look(fd, &st) < 0 || st.st_nlink == 0 || buf[0] != '/')
        return vmt_err_setx(err, ENOENT, "a file has no path any more");
    return 0;
}

static int
state_place(struct host *host, const char *path, char **ret_place, struct vmt_err *err)
{
    int r = 0;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, path, &r, err);
    VMT_CLEANUP(vmt_freep) char *dir = NULL;

    if (!place)
        return r;
    dir = strndup(place, (size_t)(strrchr(place, '/') - place));
    if (!dir)
        return vmt_err_set(err, ENOMEM, "find %s", path);
    r = os_mkdir_p(dir, 0700, err);
    if (r == 0)
        *ret_place = vmt_take_ptr(&place);
    return r;
}

/* Where the file system has no nameless files, one with a name that sweep knows. */
static int
create_named(const char *dir, int *ret_fd)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;

    if (asprintf(&path, "%s/." TEMP "XXXXXX", dir) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    *ret_fd = mkostemp(path, O_CLOEXEC);
    return *ret_fd < 0 ? -errno : 0;
}

static int
state_create(struct host *host, const char *dir, int *ret_fd, struct vmt_err *err)
{
    int r = 0;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, dir, &r, err);

    if (!place)
        return r;
    r = os_mkdir_p(place, 0700, err);
    if (r < 0)
        return r;
    *ret_fd = open(place, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*ret_fd >= 0)
        return 0;
    r = errno == EOPNOTSUPP || errno == EISDIR ? create_named(place, ret_fd) : -errno;
    return r < 0 ? vmt_err_set(err, -r, "make a file in %s", place) : 0;
}

static int
name_of_fd(int fd, char *buf, size_t cap)
{
    char link[64];
    ssize_t n;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, buf, cap - 1);
    if (n < 0)
        return -errno;
    buf[n] = '\0';
    return 0;
}

/* linkat(2) replaces nothing, so the file gets a name beside path first. */
static int
link_nameless(int fd, const char *path, char *temp, size_t cap)
{
    const char *slash = strrchr(path, '/');
    char from[64];

    (void)snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
    for (unsigned i = 0; i < 100; i++) {
        int n = snprintf(temp, cap, "%.*s/." TEMP "%d.%u", (int)(slash - path), path,
                         (int)getpid(), i);

        if (n < 0 || (size_t)n >= cap)
            return -ENAMETOOLONG;
        if (linkat(AT_FDCWD, from, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

/* Without this the name may be gone after a power cut. */
static int
sync_folder_of(const char *path)
{
    VMT_CLEANUP(vmt_freep) char *dir = strndup(path, (size_t)(strrchr(path, '/') - path));
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (!dir)
        return -ENOMEM;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int
state_commit(struct host *host, int fd, const char *path, struct vmt_err *err)
{
    int r = 0;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, path, &r, err);
    char temp[PATH_MAX];
    struct stat st;

    if (!place)
        return r;
    if (fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "name %s", path);
    r = st.st_nlink == 0 ? link_nameless(fd, place, temp, sizeof(temp))
                         : name_of_fd(fd, temp, sizeof(temp));
    if (r == 0 && rename(temp, place) < 0) {
        r = -errno;
        (void)unlink(temp);
    }
    if (r == 0)
        r = sync_folder_of(place);
    return r < 0 ? vmt_err_set(err, -r, "name %s", path) : 0;
}

static bool
is_temp(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && vmt_str_has_prefix(slash, "/." TEMP);
}

static void
state_drop(struct host *host, int fd)
{
    char name[PATH_MAX];
    struct stat st;

    (void)host;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_nlink > 0 &&
        name_of_fd(fd, name, sizeof(name)) == 0 && is_temp(name))
        (void)unlink(name);
    vmt_closep(&fd);
}

static int
state_open(struct host *host, const char *path, int *ret_fd, uint64_t *ret_bytes,
           struct vmt_err *err)
{
    int r = 0;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, path, &r, err);
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st;

    if (!place)
        return r;
    fd = open(place, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode))
        return vmt_err_setx(err, EINVAL, "%s is no regular file", path);
    *ret_bytes = (uint64_t)st.st_size;
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

static int
state_save(struct host *host, const char *path, const void *data, size_t len,
           struct vmt_err *err)
{
    int r = 0;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, path, &r, err);
    VMT_CLEANUP(vmt_freep) char *dir = NULL;

    if (!place)
        return r;
    dir = strndup(place, (size_t)(strrchr(place, '/') - place));
    if (!dir)
        return vmt_err_set(err, ENOMEM, "save %s", path);
    r = os_mkdir_p(dir, 0700, err);
    return r < 0 ? r : os_write_file_atomic(place, data, len, 0600, err);
}

static int
state_load(struct host *host, const char *path, void **ret_data, size_t *ret_len,
           struct vmt_err *err)
{
    int r = 0;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, path, &r, err);
    char *data = NULL;
    unsigned long len = 0;

    if (!place)
        return r;
    r = os_read_file(place, SMALL_FILE_MAX, &data, &len, err);
    if (r < 0)
        return r;
    *ret_data = data;
    *ret_len = len;
    return 0;
}

static void
state_touch(struct host *host, const char *path)
{
    int r;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, path, &r, NULL);

    if (place)
        (void)utimensat(AT_FDCWD, place, NULL, AT_SYMLINK_NOFOLLOW);
}

static void
state_remove(struct host *host, const char *path)
{
    int r;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, path, &r, NULL);

    if (place && unlink(place) < 0 && errno == EISDIR)
        (void)os_remove_tree(place, NULL);
}

static int
is_entry(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int
is_leftover(const struct dirent *e)
{
    return vmt_str_has_prefix(e->d_name, "." TEMP);
}

static bool
look_at(const char *dir, const char *name, struct host_state_entry *ret)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    struct stat st;

    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return false;
    }
    if (lstat(path, &st) < 0)
        return false;
    *ret = (struct host_state_entry){
        .name = name,
        .is_dir = S_ISDIR(st.st_mode),
        .bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_blocks * BLOCK : 0,
        .used_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000,
    };
    return true;
}

/* Names first: fn may remove. */
static int
state_each(struct host *host, const char *dir,
           void (*fn)(void *arg, const struct host_state_entry *entry), void *arg,
           struct vmt_err *err)
{
    int r = 0, n;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, dir, &r, err);
    struct dirent **list = NULL;

    if (!place)
        return r;
    n = scandir(place, &list, is_entry, alphasort);
    if (n < 0)
        return errno == ENOENT ? 0 : vmt_err_set(err, errno, "list %s", dir);
    for (int i = 0; i < n; i++) {
        struct host_state_entry entry;

        if (look_at(place, list[i]->d_name, &entry))
            fn(arg, &entry);
        free(list[i]);
    }
    free(list);
    return 0;
}

static void
state_sweep(struct host *host, const char *dir)
{
    int n = -1, r;
    VMT_CLEANUP(vmt_freep) char *place = place_of(host, dir, &r, NULL);
    struct dirent **list = NULL;

    if (place)
        n = scandir(place, &list, is_leftover, alphasort);
    for (int i = 0; i < n; i++) {
        VMT_CLEANUP(vmt_freep) char *path = NULL;

        if (asprintf(&path, "%s/%s", place, list[i]->d_name) < 0)
            path = NULL;
        if (path)
            (void)unlink(path);
        free(list[i]);
    }
    free(list);
}

/* Threads that it makes from now on inherit the niceness. In a session of its own the
 * kernel weighs the session's autogroup instead, where it has them: sched(7). */
static void
state_background(struct host *host, const struct spawn_id *id)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char path[64];

    (void)host;
    (void)setpriority(PRIO_PROCESS, (id_t)id->pid, NICE_LOWEST);
    (void)snprintf(path, sizeof(path), "/proc/%d/autogroup", (int)id->pid);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "19", 2) < 0)
        return; /* no permission, or no autogroups: the niceness has to do */
}

const struct host_state_ops linux_host_state = {
    .identify = state_identify,
    .path_of = state_path_of,
    .place = state_place,
    .create = state_create,
    .commit = state_commit,
    .drop = state_drop,
    .open = state_open,
    .save = state_save,
    .load = state_load,
    .touch = state_touch,
    .remove = state_remove,
    .each = state_each,
    .sweep = state_sweep,
    .background = state_background,
};
