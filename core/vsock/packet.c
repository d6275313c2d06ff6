/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsock/packet.h"

#include <errno.h>

/* A cursor over a header whose whole size was checked once. */
static uint64_t
take_le(const uint8_t **at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)(*at)[i] << (8 * i);
    *at += bytes;
    return value;
}

static void
put_le(uint8_t **at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        (*at)[i] = (uint8_t)(value >> (8 * i));
    *at += bytes;
}

int
vsock_hdr_decode(const uint8_t *data, size_t len, struct vsock_hdr *ret_hdr)
{
    const uint8_t *at = data;

    if (len < VSOCK_HDR_BYTES)
        return -EMSGSIZE;
    ret_hdr->src_cid = take_le(&at, 8);
    ret_hdr->dst_cid = take_le(&at, 8);
    ret_hdr->src_port = (uint32_t)take_le(&at, 4);
    ret_hdr->dst_port = (uint32_t)take_le(&at, 4);
    ret_hdr->len = (uint32_t)take_le(&at, 4);
    ret_hdr->type = (uint16_t)take_le(&at, 2);
    ret_hdr->op = (uint16_t)take_le(&at, 2);
    ret_hdr->flags = (uint32_t)take_le(&at, 4);
    ret_hdr->buf_alloc = (uint32_t)take_le(&at, 4);
    ret_hdr->fwd_cnt = (uint32_t)take_le(&at, 4);
    return 0;
}

void
vsock_hdr_encode(const struct vsock_hdr *hdr, uint8_t out[VSOCK_HDR_BYTES])
{
    uint8_t *at = out;

    put_le(&at, hdr->src_cid, 8);
    put_le(&at, hdr->dst_cid, 8);
    put_le(&at, hdr->src_port, 4);
    put_le(&at, hdr->dst_port, 4);
    put_le(&at, hdr->len, 4);
    put_le(&at, hdr->type, 2);
    put_le(&at, hdr->op, 2);
    put_le(&at, hdr->flags, 4);
    put_le(&at, hdr->buf_alloc, 4);
    put_le(&at, hdr->fwd_cnt, 4);
}
