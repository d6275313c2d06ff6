/* SPDX-License-Identifier: BSD-3-Clause */
/* core/snapshot/frame.h - a small record that tells whether it is whole. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct vmt_err;

/* "vmts", length and CRC-32 of the body, both little-endian. */
#define SNAPSHOT_FRAME_HEAD 12u

/* Put the head before body of len bytes; out has room for SNAPSHOT_FRAME_HEAD bytes. */
void snapshot_frame_head(const uint8_t *body, size_t len, uint8_t *out);

/* Find the body in len bytes of data, into which it points. Returns 0 or -EBADMSG: cut
 * off, or changed. */
int snapshot_frame_open(const uint8_t *data, size_t len, const uint8_t **ret_body,
                        size_t *ret_len, struct vmt_err *err);

/* CRC-32 of ISO-HDLC (polynomial 0x04c11db7, reflected), as zlib and PNG have it. */
uint32_t snapshot_crc32(const uint8_t *data, size_t len);
