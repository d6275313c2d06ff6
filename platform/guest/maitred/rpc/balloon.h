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

/* What the host keeps to itself. spec/maitred.md 10 */
#define BALLOON_HOST_KEEPS (INT64_C(1) << 30)
#define BALLOON_FILE ".vm_tools.balloon" /* in the stateful directory */
/* A btrfs or xfs that is full to the last block cannot even free some. */
#define BALLOON_FILE_SPARES (UINT64_C(16) << 20)
#define BALLOON_FILE_STEP (UINT64_C(1) << 20)

/* How large the file of the balloon has to be, so that the guest has as much space as the
 * host has beyond BALLOON_HOST_KEEPS: held is what it has, available what programs may
 * still use. Bytes, all of them. */
uint64_t balloon_file_bytes(uint64_t held, uint64_t available, int64_t host_free,
                            bool empty);

/* Give the file at path that size; 0 is no file. Returns 0 or -errno. */
int balloon_file_update(const char *path, int64_t host_free, bool empty);

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
