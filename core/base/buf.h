/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/buf.h - a byte queue: append at the end, consume from the front. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* All zeroes is empty. The bytes at data .. data + len are contiguous. */
struct vmt_buf {
    uint8_t *base; /* owned */
    uint8_t *data; /* first unread byte, inside base */
    size_t len;    /* unread bytes */
    size_t cap;    /* size of base */
};

/* Make room for extra more bytes after the unread ones. Returns 0 or -ENOMEM; the content
 * is untouched either way. */
int vmt_buf_reserve(struct vmt_buf *buf, size_t extra);

/* Append a copy. Returns 0 or -ENOMEM, then nothing was appended. */
int vmt_buf_append(struct vmt_buf *buf, const void *data, size_t len);

/* Where the next byte goes after vmt_buf_reserve; vmt_buf_commit makes n of them unread.
 */
uint8_t *vmt_buf_tail(struct vmt_buf *buf);
void vmt_buf_commit(struct vmt_buf *buf, size_t n);

/* Drop n bytes from the front; n <= len. */
void vmt_buf_consume(struct vmt_buf *buf, size_t n);

/* Release all and make the buffer empty. */
void vmt_buf_done(struct vmt_buf *buf);
