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

/* The same where both ends have agreed on large frames: what a pipe of Linux holds. */
#define VSH_LARGE_DATA_MAX (64u * 1024)
#define VSH_LARGE_BODY_MAX (VSH_LARGE_DATA_MAX + 96u)

/* The most that stands before the bytes of stdio in a frame: its length, tag and length
 * of the message, tag and number of the stream, tag and length of the bytes. */
#define VSH_DATA_HEAD (4u + 4u + 2u + 4u)

/* Puts a byte stream back together into frames. All zeroes is the start of a stream. */
struct vsh_decoder {
    uint8_t head[4]; /* of a frame that did not come in one piece */
    uint8_t *raw;    /* owned; the payload of such a frame */
    size_t cap;      /* of raw */
    size_t have;     /* bytes of that frame that came, head included */
    bool whole;      /* raw was given out as a frame; the next feed starts a new one */
    bool large;      /* up to VSH_LARGE_BODY_MAX may come */
    int broken;      /* 0, or what every further feed returns */
};

/* Take bytes from the front of *data, *len of them, until one frame is whole; *data and
 * *len are moved past what was taken. Returns 1 with the payload in *ret_body, 0 to
 * VSH_BODY_MAX bytes (VSH_LARGE_BODY_MAX when large is set), valid until the next call
 * and as long as *data was; 0 when all was taken and the frame is not whole; -EMSGSIZE,
 * now and ever after, when a peer announces more; -ENOMEM, now and ever after. */
int vsh_decoder_feed(struct vsh_decoder *decoder, const uint8_t **data, size_t *len,
                     const uint8_t **ret_body, size_t *ret_len);
/* Release what it holds; it is at the start of a stream then. */
void vsh_decoder_done(struct vsh_decoder *decoder);

/* Write length and message to out, VSH_FRAME_MAX bytes. Returns the bytes written, or
 * -EMSGSIZE when the message does not fit. */
ssize_t vsh_frame_encode(const struct ProtobufCMessage *message, uint8_t *out);

/* Put a frame around len bytes of stdio at data, 1..VSH_LARGE_DATA_MAX, by writing to the
 * VSH_DATA_HEAD bytes before them. The frame is the same to the host and to the guest.
 * Returns where it begins; it ends at data + len. */
uint8_t *vsh_frame_data(uint8_t *data, size_t len, int stream);

/* Look into the payload of a frame that has bytes of stdio and nothing else, written the
 * way that every protobuf library does. Returns false for all others, also for legal but
 * unusual ones: those take the long way. *ret_data points into body. */
bool vsh_frame_data_parse(const uint8_t *body, size_t len, int *ret_stream,
                          const uint8_t **ret_data, size_t *ret_len);
