/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/pack_out.h - what an export writes: frames, and at the end the
 * table of them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"

struct sha256;
struct vmt_err;

struct pack_out {
    int fd;             /* borrowed */
    struct sha256 *sha; /* owned */
    struct vmt_buf buf; /* not written yet */
    struct vmt_buf runs;
    uint32_t frames;
};

int pack_out_init(struct pack_out *out, int fd, struct vmt_err *err);
void pack_out_done(struct pack_out *out);

/* count frames of these bytes, each of plain bytes of the disk. */
int pack_out_frames(struct pack_out *out, const void *frame, uint32_t len, uint32_t plain,
                    uint32_t count, struct vmt_err *err);
/* The seek table; then everything is written. */
int pack_out_finish(struct pack_out *out, char ret_sha256[65], struct vmt_err *err);
