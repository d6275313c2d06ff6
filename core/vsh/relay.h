/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsh/relay.h - carry the bytes of two streams to each other, as they are. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct stream;
struct vmt_clock;
struct vsh_relay;

/* Both directions have ended and everything is delivered, or one end broke. From the
 * loop; frees the relay if it likes. */
typedef void vsh_relay_done_fn(void *arg);

/* Start. The end of one direction is handed on as such while the other one goes on; a
 * slow reader stops its source above VMT_STREAM_HIGH_MARK. Owns both streams from
 * success on; clock and arg are borrowed until free. Returns 0 or -ENOMEM. */
int vsh_relay_new(struct vmt_clock *clock, struct stream *const streams[2],
                  vsh_relay_done_fn *on_done, void *arg, struct vsh_relay **ret_relay);
/* Hand bytes on to streams[1] that were read from streams[0] before the start. */
void vsh_relay_prepend(struct vsh_relay *relay, const uint8_t *data, size_t len);
/* Closes both streams; on_done will not run. NULL is legal. */
void vsh_relay_free(struct vsh_relay *relay);
