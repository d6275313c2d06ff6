/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/files.c - read whole files, write them whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/paths.h"

struct file_content {
    const void *data;
    size_t len;
    unsigned mode;
    bool sync; /* wait until it is on the disk */
};

static int
file_write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Without this a power cut could leave the directory with the old name only. */
static int
file_sync_dir_of(const char *path)
{
    VMT_CLEANUP(vmt_freep) char *dir = strdup(path);
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char *slash;

    if (!dir)
        return -ENOMEM;
    slash = strrchr(dir, '/');
    if (!slash)
        (void)strcpy(dir, ".");
    else
        slash[slash == dir] = '\0';
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int
file_fill(int fd, const struct file_content *content)
{
    int r = file_write_all(fd, content->data, content->len);

    if (r < 0)
        return r;
    if (fchmod(fd, content->mode) < 0)
        return -errno;
    return content->sync && fsync(fd) < 0 ? -errno : 0;
}

static int
file_replace(const char *path, const struct file_content *content, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *temp = NULL;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r;

    if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
        temp = NULL;
        return vmt_err_set(err, ENOMEM, "write %s", path);
    }
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "write %s: make a file beside it", path);
    r = file_fill(fd, content);
    if (r == 0 && rename(temp, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(temp);
        return vmt_err_set(err, -r, "write %s", path);
    }
    r = content->sync ? file_sync_dir_of(path) : 0;
    return r < 0 ? vmt_err_set(err, -r, "write the directory of %s to disk", path) : 0;
}

int
os_write_file_atomic(const char *path, const void *data, unsigned long len, unsigned mode,
                     struct vmt_err *err)
{
    const struct file_content content = {data, len, mode, true};

    return file_replace(path, &content, err);
}

int
os_write_file_lazy(const char *path, const void *data, unsigned long len, unsigned mode,
                   struct vmt_err *err)
{
    const struct file_content content = {data, len, mode, false};

    return file_replace(path, &content, err);
}

int
os_read_file(const char *path, unsigned long max, char **ret_data, unsigned long *ret_len,
             struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};
    ssize_t n;

    if (fd < 0)
        return vmt_err_set(err, errno, "open %s", path);
    do {
        if (vmt_buf_reserve(&buf, 4096) < 0)
            return vmt_err_set(err, ENOMEM, "read %s", path);
        n = read(fd, vmt_buf_tail(&buf), 4096 - 1);
        if (n < 0 && errno != EINTR)
            return vmt_err_set(err, errno, "read %s", path);
        if (n > 0)
            vmt_buf_commit(&buf, (size_t)n);
        if (buf.len > max)
            return vmt_err_setx(err, EFBIG, "%s has more than %lu bytes", path, max);
    } while (n != 0);
    /* Nothing was consumed, so the bytes begin where the allocation does. */
    *vmt_buf_tail(&buf) = '\0';
    *ret_data = (char *)vmt_take_ptr(&buf.base);
    if (ret_len)
        *ret_len = buf.len;
    return 0;
}
