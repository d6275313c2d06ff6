/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#define PREFIX_BYTES 4u

/* Tags of vsh.proto: data_message = 1 of both HostMessage and GuestMessage, stream = 1
 * and data = 2 of DataMessage. */
#define TAG_DATA_MESSAGE 0x0a
#define TAG_STREAM 0x08
#define TAG_DATA 0x12

static uint32_t
le32_decode(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static void
le32_encode(uint8_t *p, size_t n)
{
    for (unsigned i = 0; i < PREFIX_BYTES; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

static int
decoder_break(struct vsh_decoder *decoder, int code)
{
    decoder->broken = code;
    return code;
}

/* Copy to bytes from..want of the frame until the input ends. */
static bool
decoder_fill(struct vsh_decoder *decoder, uint8_t *to, size_t from, size_t want,
             const uint8_t **data, size_t *len)
{
    size_t n = want - decoder->have;

    if (n > *len)
        n = *len;
    if (n > 0)
        memcpy(to + (decoder->have - from), *data, n);
    decoder->have += n;
    *data += n;
    *len -= n;
    return decoder->have == want;
}

static int
decoder_reserve(struct vsh_decoder *decoder, size_t body)
{
    uint8_t *grown;

    if (body <= decoder->cap)
        return 0;
    grown = realloc(decoder->raw, body);
    if (!grown)
        return -ENOMEM;
    decoder->raw = grown;
    decoder->cap = body;
    return 0;
}

/* The usual case: the frame is in the input, where it can stay. */
static bool
decoder_take_whole(const struct vsh_decoder *decoder, size_t max, const uint8_t **data,
                   size_t *len, const uint8_t **ret_body, size_t *ret_len)
{
    uint32_t body;

    if (decoder->have > 0 || *len < PREFIX_BYTES)
        return false;
    body = le32_decode(*data);
    if (body > max || body > *len - PREFIX_BYTES)
        return false;
    *ret_body = *data + PREFIX_BYTES;
    *ret_len = body;
    *data += PREFIX_BYTES + body;
    *len -= PREFIX_BYTES + body;
    return true;
}

int
vsh_decoder_feed(struct vsh_decoder *decoder, const uint8_t **data, size_t *len,
                 const uint8_t **ret_body, size_t *ret_len)
{
    size_t max = decoder->large ? VSH_LARGE_BODY_MAX : VSH_BODY_MAX;
    uint32_t body;

    if (decoder->broken)
        return decoder->broken;
    if (decoder->whole) {
        decoder->have = 0;
        decoder->whole = false;
    }
    if (*len == 0)
        return 0;
    if (decoder_take_whole(decoder, max, data, len, ret_body, ret_len))
        return 1;
    if (decoder->have < PREFIX_BYTES &&
        !decoder_fill(decoder, decoder->head, 0, PREFIX_BYTES, data, len))
        return 0;
    body = le32_decode(decoder->head);
    if (body > max)
        return decoder_break(decoder, -EMSGSIZE);
    if (decoder_reserve(decoder, body) < 0)
        return decoder_break(decoder, -ENOMEM);
    if (!decoder_fill(decoder, decoder->raw, PREFIX_BYTES, PREFIX_BYTES + body, data,
                      len))
        return 0;
    decoder->whole = true;
    *ret_body = body ? decoder->raw : decoder->head;
    *ret_len = body;
    return 1;
}

void
vsh_decoder_done(struct vsh_decoder *decoder)
{
    free(decoder->raw);
    memset(decoder, 0, sizeof(*decoder));
}

ssize_t
vsh_frame_encode(const struct ProtobufCMessage *message, uint8_t *out)
{
    size_t n = protobuf_c_message_get_packed_size(message);

    if (n > VSH_BODY_MAX)
        return -EMSGSIZE;
    le32_encode(out, n);
    protobuf_c_message_pack(message, out + PREFIX_BYTES);
    return (ssize_t)(PREFIX_BYTES + n);
}

/* Write a varint so that it ends before end. Returns where it begins. */
static uint8_t *
varint_before(uint8_t *end, size_t value)
{
    uint8_t *at;
    size_t n = 1;

    for (size_t v = value >> 7; v > 0; v >>= 7)
        n++;
    at = end - n;
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)((value >> (7 * i) & 0x7f) | (i + 1 < n ? 0x80 : 0));
    return at;
}

uint8_t *
vsh_frame_data(uint8_t *data, size_t len, int stream)
{
    const uint8_t *end = data + len;
    uint8_t *at = varint_before(data, len);

    assert(len >= 1 && len <= VSH_LARGE_DATA_MAX && stream >= 1 && stream <= 3);
    *--at = TAG_DATA;
    *--at = (uint8_t)stream;
    *--at = TAG_STREAM;
    at = varint_before(at, (size_t)(end - at));
    *--at = TAG_DATA_MESSAGE;
    le32_encode(at - PREFIX_BYTES, (size_t)(end - at));
    return at - PREFIX_BYTES;
}

/* Read a varint below 2^21 and move *at past it. */
static bool
varint_take(const uint8_t **at, const uint8_t *end, size_t *ret_value)
{
    size_t value = 0;

    for (unsigned shift = 0; shift < 21 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;

        value |= (size_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

bool
vsh_frame_data_parse(const uint8_t *body, size_t len, int *ret_stream,
                     const uint8_t **ret_data, size_t *ret_len)
{
    const uint8_t *at = body, *end = body + len;
    size_t n;

    if (len < 2 || *at++ != TAG_DATA_MESSAGE || !varint_take(&at, end, &n) ||
        n != (size_t)(end - at))
        return false;
    if (end - at < 4 || at[0] != TAG_STREAM || (at[1] & 0x80) || at[2] != TAG_DATA)
        return false;
    *ret_stream = at[1];
    at += 3;
    if (!varint_take(&at, end, &n) || n != (size_t)(end - at))
        return false;
    *ret_data = at;
    *ret_len = n;
    return true;
}
