/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/sink.h - the bytes of a disk on their way into a file: zeros
 * become holes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

struct sink {
    int fd;       /* borrowed; an empty file, or -1: only count */
    uint64_t at;  /* bytes so far */
    uint64_t max; /* no more than these */
};

/* Returns 0; -EFBIG beyond max; -ENOSPC; -errno. */
int sink_write(struct sink *sink, const uint8_t *data, size_t len, struct vmt_err *err);
/* So many zeros. */
int sink_skip(struct sink *sink, uint64_t len, struct vmt_err *err);
/* Give the file its size. */
int sink_finish(struct sink *sink, struct vmt_err *err);

bool sink_is_zero(const uint8_t *data, size_t len);

/* Copy size bytes of a file of which the holes are not read. */
int sink_copy(struct sink *sink, int from_fd, uint64_t size, struct vmt_err *err);
