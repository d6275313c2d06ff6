/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUF_CAP_MIN 512

int
vmt_buf_reserve(struct vmt_buf *buf, size_t extra)
{
    size_t head = buf->base ? (size_t)(buf->data - buf->base) : 0;
    size_t cap = buf->cap ? buf->cap : BUF_CAP_MIN;
    uint8_t *grown;

    if (buf->base && extra <= buf->cap - head - buf->len)
        return 0;
    if (extra > SIZE_MAX / 2 - buf->len)
        return -ENOMEM;
    /* Slide only when at least half is dead: each byte is moved O(1) times. */
    if (buf->base && buf->len + extra <= buf->cap && head >= buf->cap / 2) {
        memmove(buf->base, buf->data, buf->len);
        buf->data = buf->base;
        return 0;
    }
    while (cap < buf->len + extra)
        cap *= 2;
    grown = malloc(cap);
    if (!grown)
        return -ENOMEM;
    if (buf->len)
        memcpy(grown, buf->data, buf->len);
    free(buf->base);
    buf->base = grown;
    buf->data = grown;
    buf->cap = cap;
    return 0;
}

int
vmt_buf_append(struct vmt_buf *buf, const void *data, size_t len)
{
    int r;

    if (len == 0)
        return 0;
    r = vmt_buf_reserve(buf, len);
    if (r < 0)
        return r;
    memcpy(vmt_buf_tail(buf), data, len);
    buf->len += len;
    return 0;
}

uint8_t *
vmt_buf_tail(struct vmt_buf *buf)
{
    return buf->data + buf->len;
}

void
vmt_buf_commit(struct vmt_buf *buf, size_t n)
{
    assert(buf->base && n <= buf->cap - (size_t)(buf->data - buf->base) - buf->len);
    buf->len += n;
}

void
vmt_buf_consume(struct vmt_buf *buf, size_t n)
{
    assert(n <= buf->len);
    buf->len -= n;
    if (buf->len == 0)
        buf->data = buf->base;
    else
        buf->data += n;
}

void
vmt_buf_done(struct vmt_buf *buf)
{
    free(buf->base);
    memset(buf, 0, sizeof(*buf));
}
