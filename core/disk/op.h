/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/op.h - operations on images that take a while: who may start one, what is
 * known of it, and how long it is remembered. Pure: time and memory are the caller's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/vm/id.h"

#define DISK_UUID_MAX 37 /* with its NUL */
#define DISK_FAILURE_MAX 512

/* A finished operation that nobody asks about is forgotten after that; whoever polls does
 * so every few seconds. */
#define DISK_OP_KEEP_MS (10u * 60 * 1000)
/* Each is a process that reads and writes as fast as it can. */
#define DISK_OPS_RUNNING_MAX 64
#define DISK_OPS_RUNNING_PER_OWNER_MAX 8
/* With the kept ones; the oldest of the owner with the most goes first. */
#define DISK_OPS_KEPT_PER_OWNER_MAX 64
#define DISK_OP_SIGNAL_MS 1000u

enum disk_op_kind {
    DISK_OP_CREATE = 0,
    DISK_OP_DESTROY,
    DISK_OP_EXPORT,
    DISK_OP_IMPORT,
    DISK_OP_RESIZE, /* offline, by the worker */
    DISK_OP_RESIZE_LIVE,
    DISK_OP_PFLASH,
    DISK_OP_RENAME,
    DISK_OP_KIND_COUNT
};

enum disk_result {
    DISK_RESULT_NONE = 0, /* it is not over */
    DISK_RESULT_OK,
    DISK_RESULT_NO_SPACE,
    DISK_RESULT_BAD_IMAGE,
    DISK_RESULT_EXISTS,
    DISK_RESULT_BUSY,
    DISK_RESULT_FAILED,
};

struct disk_op {
    struct vmt_list node;
    char uuid[DISK_UUID_MAX];
    struct vm_id id; /* of the image */
    enum disk_op_kind kind;
    enum disk_result result;
    unsigned progress; /* 0 .. 99, 100 when it is over; never falls */
    bool cancelled;
    bool secret; /* nobody was told the uuid: gone as soon as it is over */
    uint64_t ended_ms, signalled_ms;
    bool signalled;
    char failure[DISK_FAILURE_MAX]; /* "" while all went well */
};

struct disk_op_table {
    struct vmt_list ops; /* of struct disk_op, oldest first */
};

void disk_op_table_init(struct disk_op_table *table);

/* May an operation on this image begin? Returns 0, -EBUSY while another one works on it,
 * -EAGAIN when this owner or the host has too many; err says so. */
int disk_op_may_begin(const struct disk_op_table *table, const struct vm_id *id,
                      struct vmt_err *err);
/* op, all zeroes but for uuid, id, kind and secret, runs from now on. It must not move.
 */
void disk_op_begin(struct disk_op_table *table, struct disk_op *op);

struct disk_op *disk_op_find(struct disk_op_table *table, const char *uuid);
/* The operation that runs on an image, or NULL. There is one at most. */
struct disk_op *disk_op_find_running(const struct disk_op_table *table, const char *owner,
                                     const char *name);
bool disk_op_is_running(const struct disk_op *op);

void disk_op_advance(struct disk_op *op, unsigned percent);
void disk_op_end(struct disk_op *op, enum disk_result result, uint64_t now_ms);
/* What the signal is for: the first one, at most one in DISK_OP_SIGNAL_MS, and the last.
 * Whether to send one now; it counts as sent. */
bool disk_op_wants_signal(struct disk_op *op, uint64_t now_ms);

/* One that nobody needs any more, or NULL; the caller takes it from the table, frees it
 * and asks again. */
struct disk_op *disk_op_find_expired(struct disk_op_table *table, uint64_t now_ms);

/* Is there one that is over, and not forgotten? */
bool disk_op_has_ended(const struct disk_op_table *table);

/* "an export" and the like, for sentences. */
const char *disk_op_kind_name(enum disk_op_kind kind);
