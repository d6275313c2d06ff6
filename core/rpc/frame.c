/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/frame_internal.h"

#include <errno.h>
#include <string.h>

static uint32_t
frame_len(const struct rpc_frame_decoder *decoder)
{
    const uint8_t *p = decoder->prefix + 1;

    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Take up to what the prefix misses. Returns bytes used or -errno. */
static ssize_t
frame_take_prefix(struct rpc_frame_decoder *decoder, const uint8_t *data, size_t len)
{
    size_t n = RPC_FRAME_PREFIX - decoder->prefix_len;

    if (n > len)
        n = len;
    memcpy(decoder->prefix + decoder->prefix_len, data, n);
    decoder->prefix_len += n;
    if (decoder->prefix[0] > 1)
        return -EBADMSG;
    if (decoder->prefix_len == RPC_FRAME_PREFIX && frame_len(decoder) > decoder->max)
        return -EMSGSIZE;
    return (ssize_t)n;
}

static void
frame_give(struct rpc_frame_decoder *decoder, const uint8_t *data,
           struct rpc_frame *ret_frame, bool *ret_complete)
{
    ret_frame->compressed = decoder->prefix[0] == 1;
    ret_frame->data = data;
    ret_frame->len = frame_len(decoder);
    *ret_complete = true;
    decoder->prefix_len = 0;
}

ssize_t
rpc_frame_decode(struct rpc_frame_decoder *decoder, const uint8_t *data, size_t len,
                 struct rpc_frame *ret_frame, bool *ret_complete)
{
    size_t used = 0, missing;

    *ret_complete = false;
    if (decoder->body_given) {
        vmt_buf_done(&decoder->body);
        decoder->body_given = false;
    }
    if (decoder->prefix_len < RPC_FRAME_PREFIX) {
        ssize_t r = frame_take_prefix(decoder, data, len);

        if (r < 0)
            return r;
        used = (size_t)r;
        if (decoder->prefix_len < RPC_FRAME_PREFIX)
            return (ssize_t)used;
    }
    missing = frame_len(decoder) - decoder->body.len;
    if (missing <= len - used && decoder->body.len == 0) {
        frame_give(decoder, data + used, ret_frame, ret_complete);
        return (ssize_t)(used + missing);
    }
    if (missing > len - used)
        missing = len - used;
    /* The buffer grows by what came, never by what the prefix promises. */
    if (vmt_buf_append(&decoder->body, data + used, missing) < 0)
        return -ENOMEM;
    if (decoder->body.len == frame_len(decoder)) {
        decoder->body_given = true;
        frame_give(decoder, decoder->body.data, ret_frame, ret_complete);
    }
    return (ssize_t)(used + missing);
}

size_t
rpc_frame_held(const struct rpc_frame_decoder *decoder)
{
    return decoder->body_given ? 0 : decoder->body.len;
}

bool
rpc_frame_partial(const struct rpc_frame_decoder *decoder)
{
    return decoder->prefix_len > 0;
}

void
rpc_frame_done(struct rpc_frame_decoder *decoder)
{
    vmt_buf_done(&decoder->body);
    decoder->prefix_len = 0;
    decoder->body_given = false;
}

void
rpc_frame_prefix(uint8_t prefix[RPC_FRAME_PREFIX], bool compressed, uint32_t len)
{
    prefix[0] = compressed;
    prefix[1] = (uint8_t)(len >> 24);
    prefix[2] = (uint8_t)(len >> 16);
    prefix[3] = (uint8_t)(len >> 8);
    prefix[4] = (uint8_t)len;
}
