/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_stream.h - two connected streams in memory, moved by a clock. */
#pragma once

#include <stddef.h>

#include "core/adapter/stream.h"

struct vmt_clock;

/* Two ends of one connection. Bytes arrive by timers of the clock with no delay, so with
 * a fake clock nothing moves before it advances. Descriptors are refused (-ENOTSUP). Each
 * end is closed by its owner; the other end then gets on_end, status 0, after the bytes
 * that were under way, and -EPIPE for what it sends. Returns 0 or -ENOMEM. */
int fake_stream_pair(struct vmt_clock *clock, struct stream *ret_streams[2]);

/* Say who the peer of s is. */
void fake_stream_set_peer(struct stream *s, const struct stream_peer *peer);

/* Give on_data at most this many bytes at a time; 0: all that is there (the default). */
void fake_stream_set_chunk(struct stream *s, size_t bytes);

/* How many bytes may be under way to s before its peer has to queue: 64 KiB by default.
 */
void fake_stream_set_window(struct stream *s, size_t bytes);

/* Break both ends: what is under way is lost, each end gets on_end with status. */
void fake_stream_break(struct stream *s, int status);
