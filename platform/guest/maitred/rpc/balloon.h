/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/balloon.h - space that the guest must not use, because the
 * host does not have it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* ext4 keeps at most that many clusters to itself when nobody asks for more, a small file
 * system fewer. Source: fs/ext4/super.c of Linux 6.1, ext4_set_resv_clusters. */
#define BALLOON_BASE_CLUSTERS 4096u

/* What reserved_clusters has to be, so that the guest has as much space as the host has
 * beyond 1 GiB: base is what it was without a balloon, value what it is, available are
 * blocks of block_size bytes that programs may still use. Without a balloon (empty): the
 * base. spec/maitred.md 10 */
struct balloon_space {
    uint64_t base, value;
    uint64_t available, block_size;
};
uint64_t balloon_clusters(const struct balloon_space *space, int64_t host_free,
                          bool empty);
