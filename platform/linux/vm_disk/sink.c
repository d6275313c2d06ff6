/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/sink.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vm_disk/jail.h"

/* Smaller holes are of no use to most file systems. */
#define BLOCK 4096u
#define CHUNK (1024u * 1024)

bool
sink_is_zero(const uint8_t *data, size_t len)
{
    assert(data || len == 0);
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

static int
sink_check(const struct sink *sink, uint64_t len, struct vmt_err *err)
{
    if (len > sink->max || sink->at > sink->max - len)
        return vmt_err_setx(err, EFBIG, "the disk has more than %llu bytes",
                            (unsigned long long)sink->max);
    return 0;
}

static int
sink_put(struct sink *sink, const uint8_t *data, size_t len, struct vmt_err *err)
{
    while (sink->fd >= 0 && len > 0) {
        ssize_t n = pwrite(sink->fd, data, len, (off_t)sink->at);

        if (n < 0 && errno != EINTR)
            return vmt_err_set(err, errno, "write the image");
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        sink->at += n > 0 ? (size_t)n : 0;
    }
    sink->at += len;
    return 0;
}

/* How many bytes from here on are all zero, or all to be written: whole blocks of the
 * file, but for the first and the last. */
static size_t
sink_run(const struct sink *sink, const uint8_t *data, size_t len, bool *ret_zero)
{
    size_t run = 0;

    while (run < len) {
        size_t block = BLOCK - (size_t)((sink->at + run) % BLOCK);
        bool zero;

        if (block > len - run)
            block = len - run;
        zero = sink_is_zero(data + run, block);
        if (run == 0)
            *ret_zero = zero;
        else if (zero != *ret_zero)
            break;
        run += block;
    }
    return run;
}

int
sink_write(struct sink *sink, const uint8_t *data, size_t len, struct vmt_err *err)
{
    int r = sink_check(sink, len, err);

    while (r == 0 && len > 0) {
        bool zero = false;
        size_t run = sink_run(sink, data, len, &zero);

        if (zero)
            sink->at += run;
        else
            r = sink_put(sink, data, run, err);
        data += run;
        len -= run;
    }
    return r;
}

int
sink_skip(struct sink *sink, uint64_t len, struct vmt_err *err)
{
    int r = sink_check(sink, len, err);

    if (r == 0)
        sink->at += len;
    return r;
}

int
sink_finish(struct sink *sink, struct vmt_err *err)
{
    if (sink->fd >= 0 && ftruncate(sink->fd, (off_t)sink->at) < 0)
        return vmt_err_set(err, errno, "give the image its size");
    return 0;
}

/* Copy the bytes from sink->at to end. */
static int
sink_copy_data(struct sink *sink, int from_fd, uint64_t end, uint8_t *chunk,
               struct vmt_err *err)
{
    while (sink->at < end) {
        size_t want = end - sink->at < CHUNK ? (size_t)(end - sink->at) : CHUNK;
        ssize_t n = pread(from_fd, chunk, want, (off_t)sink->at);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return vmt_err_set(err, n < 0 ? errno : EIO, "read the image");
        r = sink_write(sink, chunk, (size_t)n, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int
sink_copy(struct sink *sink, int from_fd, uint64_t size, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) uint8_t *chunk = malloc(CHUNK);
    int r = chunk ? 0 : vmt_err_set(err, ENOMEM, "copy the image");

    while (r == 0 && sink->at < size) {
        off_t data = lseek(from_fd, (off_t)sink->at, SEEK_DATA);
        off_t hole;

        if (data < 0 && errno != ENXIO)
            return vmt_err_set(err, errno, "look for holes");
        if (data < 0 || (uint64_t)data >= size)
            return sink_skip(sink, size - sink->at, err);
        r = sink_skip(sink, (uint64_t)data - sink->at, err);
        hole = lseek(from_fd, data, SEEK_HOLE);
        if (r == 0 && hole < 0)
            r = vmt_err_set(err, errno, "look for holes");
        if (r == 0)
            r = sink_copy_data(sink, from_fd,
                               (uint64_t)hole < size ? (uint64_t)hole : size, chunk, err);
        jail_progress(sink->at, size);
    }
    return r;
}
