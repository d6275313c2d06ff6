/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsh/frame.h - frames of the vsock shell: LE32 length, then one protobuf message.
 * Source: platform2 3050786c, vm_tools/vsh/utils.cc (SendMessage, RecvMessage). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ProtobufCMessage;

#define VSH_BODY_MAX 4096u /* longer payloads end the session, in both directions */
#define VSH_DATA_MAX 4000u /* bytes of stdio in one frame; the rest is for its fields */
#define VSH_FRAME_MAX (4u + VSH_BODY_MAX)

/* Puts a byte stream back together into frames. All zeroes is the start of a stream. */
struct vsh_decoder {
    uint8_t raw[VSH_FRAME_MAX];
    size_t have; /* bytes of the frame that are in raw */
    bool whole;  /* raw was given out as a frame; the next feed starts a new one */
    bool broken;
};

/* Take bytes from the front of *data, *len of them, until one frame is whole; *data and
 * *len are moved past what was taken. Returns 1 with the payload in *ret_body, 0 to
 * VSH_BODY_MAX bytes, valid until the next call; 0 when all was taken and the frame is
 * not whole; -EMSGSIZE, now and ever after, when a peer announces more than VSH_BODY_MAX.
 */
int vsh_decoder_feed(struct vsh_decoder *decoder, const uint8_t **data, size_t *len,
                     const uint8_t **ret_body, size_t *ret_len);

/* Write length and message to out, VSH_FRAME_MAX bytes. Returns the bytes written, or
 * -EMSGSIZE when the message does not fit. */
ssize_t vsh_frame_encode(const struct ProtobufCMessage *message, uint8_t *out);
