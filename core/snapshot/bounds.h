/* SPDX-License-Identifier: BSD-3-Clause */
/* core/snapshot/bounds.h - which saved states have to go, so that they stay few. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One saved state. */
struct snapshot_entry {
    const char *group; /* its owner; borrowed */
    uint64_t bytes;    /* on the disk */
    int64_t used_ms;   /* last used, of any clock */
    bool evict;        /* answer: it has to go */
};

struct snapshot_bounds {
    size_t per_group; /* at most so many of one group */
    uint64_t bytes;   /* at most so much of all groups together */
};

/* Mark what has to go until both bounds hold and need more bytes fit, one more of
 * need_group (NULL: none): the least recently used first. Entries that are marked already
 * count as gone. Returns whether the new one fits at all; nothing is marked when not. */
bool snapshot_bounds_apply(const struct snapshot_bounds *bounds,
                           struct snapshot_entry *entries, size_t n,
                           const char *need_group, uint64_t need);
