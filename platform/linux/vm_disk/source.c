/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/source.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "core/base/err.h"
#include "platform/linux/vm_disk/jail.h"
#include "platform/linux/vm_disk/sha256.h"

#define CHUNK (256u * 1024)

ssize_t
source_read_fd(void *arg, uint8_t *data, size_t len)
{
    struct pollfd poller = {.fd = *(const int *)arg, .events = POLLIN};
    ssize_t n;

    for (;;) {
        n = read(poller.fd, data, len);
        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            (void)poll(&poller, 1, -1);
        else if (errno != EINTR)
            return -errno;
    }
}

static int
source_fill(struct source *source, struct vmt_err *err)
{
    ssize_t n;
    int r = 0;

    if (vmt_buf_reserve(&source->buf, CHUNK) < 0)
        return vmt_err_set(err, ENOMEM, "read what is imported");
    n = source->read(source->arg, vmt_buf_tail(&source->buf), CHUNK);
    if (n < 0)
        return vmt_err_set(err, EBADMSG, "read what is imported: error %d", (int)-n);
    if (source->sha)
        r = sha256_add(source->sha, vmt_buf_tail(&source->buf), (size_t)n, err);
    vmt_buf_commit(&source->buf, (size_t)n);
    source->got += (size_t)n;
    source->eof = n == 0;
    pace_add(&source->pace, (size_t)n);
    jail_progress(source->taken, source->total);
    return r;
}

ssize_t
source_peek(struct source *source, size_t len, struct vmt_err *err)
{
    while (source->buf.len < len && !source->eof) {
        int r = source_fill(source, err);

        if (r < 0)
            return r;
    }
    return (ssize_t)source->buf.len;
}

void
source_consume(struct source *source, size_t n)
{
    vmt_buf_consume(&source->buf, n);
    source->taken += n;
}

int
source_drain(struct source *source, struct vmt_err *err)
{
    ssize_t n;

    while ((n = source_peek(source, 1, err)) > 0)
        source_consume(source, (size_t)n);
    return n < 0 ? (int)n : 0;
}

void
source_done(struct source *source)
{
    vmt_buf_done(&source->buf);
}
