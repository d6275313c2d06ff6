/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"

#define READ_STEP 4096

long
file_read(const char *path, size_t max, char **ret)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};
    ssize_t n;
    char *copy;

    if (fd < 0)
        return -errno;
    do {
        if (vmt_buf_reserve(&buf, READ_STEP) < 0)
            return -ENOMEM;
        n = read(fd, vmt_buf_tail(&buf), READ_STEP);
        if (n < 0)
            return -errno;
        vmt_buf_commit(&buf, (size_t)n);
        if (buf.len > max)
            return -EFBIG;
    } while (n > 0);
    copy = malloc(buf.len + 1);
    if (!copy)
        return -ENOMEM;
    if (buf.len)
        memcpy(copy, buf.data, buf.len);
    copy[buf.len] = '\0';
    *ret = copy;
    return (long)buf.len;
}

int
file_write(const char *path, const char *text)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}
