/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/balloon.h - space that the guest must not use, because the
 * host does not have it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rpc_server_call;

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

/* What we last made of a file system's knob, to tell it from what the kernel did. */
struct balloon_last {
    dev_t dev;
    uint64_t base, set; /* clusters */
};

/* For the worker that sets the knob. */
struct balloon_order {
    int64_t host_free; /* bytes */
    bool empty;
    struct balloon_last last;
};

/* Of the agent; all zeroes is no balloon yet. */
struct balloon {
    struct rpc_server_call *call; /* under way, or NULL */
    struct balloon_order order;
    struct {
        struct rpc_server_call *call; /* waits for the one under way, or NULL */
        int64_t host_free;
        bool empty;
    } next;
};
