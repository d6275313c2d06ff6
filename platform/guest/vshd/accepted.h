/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/accepted.h - connections that listeners of sessions accepted and
 * that nobody has come for yet. */
#pragma once

#include <stdint.h>

#include "core/vsh/message.h"

struct accepted_pool;
struct stream;
struct vmt_clock;

/* clock is borrowed for the life of the pool. Returns 0 or -ENOMEM. */
int accepted_pool_new(struct vmt_clock *clock, struct accepted_pool **ret_pool);
void accepted_pool_free(struct accepted_pool *pool); /* closes them; NULL is legal */

/* Keep stream for whoever has the token, VSH_TOKEN_BYTES, for ACCEPTED_WAIT_MS. owner is
 * only compared. Takes the stream over, also on failure. Returns 0, -ENOMEM, -ENOBUFS
 * when too many wait already, -EIO without random numbers. */
int accepted_pool_put(struct accepted_pool *pool, const void *owner,
                      struct stream *stream, uint8_t *ret_token);
/* The stream of that token, which the caller then owns, or NULL. */
struct stream *accepted_pool_take(struct accepted_pool *pool, const uint8_t *token);
/* Close all of owner. */
void accepted_pool_drop(struct accepted_pool *pool, const void *owner);
