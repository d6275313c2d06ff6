/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/frame.h"

#include <errno.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#define PREFIX_BYTES 4u

static uint32_t
le32_decode(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

/* Copy until have reaches want or the input ends. */
static bool
decoder_fill(struct vsh_decoder *decoder, size_t want, const uint8_t **data, size_t *len)
{
    size_t n = want - decoder->have;

    if (n > *len)
        n = *len;
    memcpy(decoder->raw + decoder->have, *data, n);
    decoder->have += n;
    *data += n;
    *len -= n;
    return decoder->have == want;
}

int
vsh_decoder_feed(struct vsh_decoder *decoder, const uint8_t **data, size_t *len,
                 const uint8_t **ret_body, size_t *ret_len)
{
    uint32_t body;

    if (decoder->broken)
        return -EMSGSIZE;
    if (decoder->whole) {
        decoder->have = 0;
        decoder->whole = false;
    }
    if (*len == 0)
        return 0;
    if (decoder->have < PREFIX_BYTES && !decoder_fill(decoder, PREFIX_BYTES, data, len))
        return 0;
    body = le32_decode(decoder->raw);
    if (body > VSH_BODY_MAX) {
        decoder->broken = true;
        return -EMSGSIZE;
    }
    if (!decoder_fill(decoder, PREFIX_BYTES + body, data, len))
        return 0;
    decoder->whole = true;
    *ret_body = decoder->raw + PREFIX_BYTES;
    *ret_len = body;
    return 1;
}

ssize_t
vsh_frame_encode(const struct ProtobufCMessage *message, uint8_t *out)
{
    size_t n = protobuf_c_message_get_packed_size(message);

    if (n > VSH_BODY_MAX)
        return -EMSGSIZE;
    for (unsigned i = 0; i < PREFIX_BYTES; i++)
        out[i] = (uint8_t)(n >> (8 * i));
    protobuf_c_message_pack(message, out + PREFIX_BYTES);
    return (ssize_t)(PREFIX_BYTES + n);
}
