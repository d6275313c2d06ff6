/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/source.h - what is imported: a stream of bytes of which the next
 * ones can be looked at. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/buf.h"
#include "platform/linux/vm_disk/pace.h"

struct sha256;
struct vmt_err;

/* As read(2): bytes, 0 at the end, or -errno. */
typedef ssize_t source_read_fn(void *arg, uint8_t *data, size_t len);

struct source {
    source_read_fn *read;
    void *arg;          /* borrowed */
    struct sha256 *sha; /* borrowed: of all that was read; NULL: not wanted */
    struct pace pace;
    uint64_t total;     /* bytes that are expected, 0: unknown */
    uint64_t taken;     /* bytes that were consumed */
    uint64_t got;       /* bytes that were read */
    struct vmt_buf buf; /* read and not consumed */
    int eof;
};

/* Read until len bytes are there to look at, or the end. Returns how many there are,
 * which may be more, or fewer at the end; or -errno. They are at source->buf.data. */
ssize_t source_peek(struct source *source, size_t len, struct vmt_err *err);
/* Drop n of them. */
void source_consume(struct source *source, size_t n);
/* Read and drop all the rest. */
int source_drain(struct source *source, struct vmt_err *err);
void source_done(struct source *source);

/* Read from the descriptor to which arg points, of any kind, also a non-blocking one. */
ssize_t source_read_fd(void *arg, uint8_t *data, size_t len);
