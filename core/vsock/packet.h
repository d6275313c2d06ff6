/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsock/packet.h - the packet header of a virtio socket device.
 * Source: OASIS virtio 1.2, section 5.10.6, struct virtio_vsock_hdr; the numbers of the
 * constants also stand in linux/virtio_vsock.h, which core may not include. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define VSOCK_HDR_BYTES 44u /* packed, every field little endian */

#define VSOCK_TYPE_STREAM 1u

enum vsock_op {
    VSOCK_OP_INVALID = 0,
    VSOCK_OP_REQUEST = 1,
    VSOCK_OP_RESPONSE = 2,
    VSOCK_OP_RST = 3,
    VSOCK_OP_SHUTDOWN = 4,
    VSOCK_OP_RW = 5,
    VSOCK_OP_CREDIT_UPDATE = 6,
    VSOCK_OP_CREDIT_REQUEST = 7,
    VSOCK_OP_COUNT,
};

/* flags of VSOCK_OP_SHUTDOWN: what the sender of the packet will not do any more. */
#define VSOCK_SHUTDOWN_RCV 1u
#define VSOCK_SHUTDOWN_SEND 2u
#define VSOCK_SHUTDOWN_BOTH 3u

struct vsock_hdr {
    uint64_t src_cid, dst_cid; /* the upper 32 bits are reserved and must be zero */
    uint32_t src_port, dst_port;
    uint32_t len; /* bytes of payload after the header */
    uint16_t type;
    uint16_t op;
    uint32_t flags;
    uint32_t buf_alloc; /* bytes that the sender can buffer on this connection */
    uint32_t fwd_cnt;   /* bytes it has taken out of that buffer so far, modulo 2^32 */
};

/* Returns 0, or -EMSGSIZE when len is less than VSOCK_HDR_BYTES. */
int vsock_hdr_decode(const uint8_t *data, size_t len, struct vsock_hdr *ret_hdr);

void vsock_hdr_encode(const struct vsock_hdr *hdr, uint8_t out[VSOCK_HDR_BYTES]);
