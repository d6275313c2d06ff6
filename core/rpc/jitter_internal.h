/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/jitter_internal.h - chance for times: what began together must not come back
 * together. Nobody must be unable to guess it. */
#pragma once

#include <stdint.h>

struct vmt_clock;

/* Where to begin without a seed; owner is any address that others do not have. */
uint64_t rpc_jitter_seed(struct vmt_clock *clock, const void *owner);
/* ms, or up to percent of it less or more, all alike likely. random is the state of the
 * generator; any value will do to begin with. */
uint64_t rpc_jitter(uint64_t *random, uint64_t ms, uint32_t percent);
