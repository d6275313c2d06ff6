/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/logs.c - logs that another process appends to.
 * It keeps its descriptor, so a log that is too long is emptied in place; O_APPEND makes
 * the writer go on at the new end. What it writes between the copy and the cut is lost.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"

/* Number 1 is the youngest of what was cut off. malloc'ed. */
static char *
kept_path(const char *path, unsigned number)
{
    char *kept;

    return asprintf(&kept, "%s.%u", path, number) < 0 ? NULL : kept;
}

static void
drop_kept(const char *path)
{
    for (unsigned i = 1; i <= HOST_LOGS_KEPT; i++) {
        VMT_CLEANUP(vmt_freep) char *kept = kept_path(path, i);

        if (kept)
            (void)unlink(kept);
    }
}

/* Make room for a new number 1: each gets one more, the oldest goes. */
static void
shift_kept(const char *path)
{
    for (unsigned i = HOST_LOGS_KEPT; i > 1; i--) {
        VMT_CLEANUP(vmt_freep) char *from = kept_path(path, i - 1);
        VMT_CLEANUP(vmt_freep) char *to = kept_path(path, i);

        if (from && to)
            (void)rename(from, to);
    }
}

static int
logs_open(struct host *host, const char *path, int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;

    (void)host;
    fd = open(path,
              O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
              0600);
    if (fd < 0)
        return vmt_err_set(err, errno, "open log %s", path);
    drop_kept(path);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

static uint64_t
logs_size(struct host *host, const char *path)
{
    struct stat st;

    (void)host;
    return lstat(path, &st) < 0 || st.st_size < 0 ? 0 : (uint64_t)st.st_size;
}

/* The last bytes of one file, at most max, to the end of the room before at. Returns how
 * many, or -errno. */
static ssize_t
read_tail(const char *path, char *at, size_t max)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    size_t want, got = 0;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    want = (uint64_t)st.st_size < max ? (size_t)st.st_size : max;
    while (got < want) {
        ssize_t n =
            pread(fd, at - want + got, want - got, st.st_size - (off_t)want + (off_t)got);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0) /* cut meanwhile */
            break;
        got += n > 0 ? (size_t)n : 0;
    }
    if (got < want)
        memmove(at - got, at - want, got);
    return (ssize_t)got;
}

static int
logs_tail(struct host *host, const char *path, size_t max, char **ret_data,
          size_t *ret_len, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *data = malloc(max + 1);
    ssize_t n, older = 0;

    (void)host;
    if (!data)
        return vmt_err_set(err, ENOMEM, "read log %s", path);
    n = read_tail(path, data + max, max);
    if (n < 0)
        return vmt_err_set(err, (int)-n, "read log %s", path);
    for (unsigned i = 1; i <= HOST_LOGS_KEPT && (size_t)n < max && older >= 0; i++) {
        VMT_CLEANUP(vmt_freep) char *kept = kept_path(path, i);

        older = kept ? read_tail(kept, data + max - n, max - (size_t)n) : -ENOMEM;
        n += older > 0 ? older : 0;
    }
    memmove(data, data + max - n, (size_t)n);
    data[n] = '\0';
    *ret_len = (size_t)n;
    *ret_data = vmt_take_ptr(&data);
    return 0;
}

static int
logs_trim(struct host *host, const char *path, uint64_t max, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *kept = kept_path(path, 1);
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    size_t keep = (size_t)max;
    ssize_t n;
    int r;

    if (logs_size(host, path) <= max)
        return 0;
    data = malloc(keep + 1);
    if (!kept || !data)
        return vmt_err_set(err, ENOMEM, "cut log %s", path);
    n = read_tail(path, data + keep, keep);
    if (n < 0)
        return vmt_err_set(err, (int)-n, "read log %s", path);
    shift_kept(path);
    r = os_write_file_lazy(kept, data + keep - n, (unsigned long)n, 0600, err);
    if (r < 0)
        (void)unlink(kept); /* a full disk: rather lose the past than fill it further */
    if (truncate(path, 0) < 0)
        return vmt_err_set(err, errno, "cut log %s", path);
    return r < 0 ? r : 1;
}

struct log_file {
    struct timespec written;
    char name[NAME_MAX + 1];
};

static int
newest_first(const void *a, const void *b)
{
    const struct log_file *x = a, *y = b;

    if (x->written.tv_sec != y->written.tv_sec)
        return x->written.tv_sec < y->written.tv_sec ? 1 : -1;
    return x->written.tv_nsec < y->written.tv_nsec   ? 1
           : x->written.tv_nsec > y->written.tv_nsec ? -1
                                                     : 0;
}

/* Append what e names to the list, if it is a file. Returns 0 or -ENOMEM. */
static int
add_file(int dir_fd, const char *name, struct vmt_buf *list)
{
    struct log_file file = {.name = ""};
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return 0;
    file.written = st.st_mtim;
    (void)snprintf(file.name, sizeof(file.name), "%s", name);
    return vmt_buf_append(list, &file, sizeof(file));
}

void
linux_host_prune_logs(const char *dir, size_t keep)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf list = {0};
    DIR *d = opendir(dir);
    struct log_file *files;
    size_t n;

    if (!d)
        return;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (add_file(dirfd(d), e->d_name, &list) < 0)
            break;
    n = list.len / sizeof(*files);
    files = (struct log_file *)(void *)list.data;
    if (n > keep)
        qsort(files, n, sizeof(*files), newest_first);
    for (size_t i = keep; i < n; i++)
        (void)unlinkat(dirfd(d), files[i].name, 0);
    (void)closedir(d);
}

const struct host_log_ops linux_host_logs = {
    .open = logs_open,
    .size = logs_size,
    .tail = logs_tail,
    .trim = logs_trim,
};
