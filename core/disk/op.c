/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/op.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/err.h"

static const char *const kind_names[] = {
    [DISK_OP_CREATE] = "its creation",
    [DISK_OP_DESTROY] = "its removal",
    [DISK_OP_EXPORT] = "an export",
    [DISK_OP_IMPORT] = "an import",
    [DISK_OP_RESIZE] = "a resize",
    [DISK_OP_RESIZE_LIVE] = "a resize",
    [DISK_OP_PFLASH] = "an install of firmware variables",
    [DISK_OP_RENAME] = "a rename",
};
static_assert(VMT_ARRAY_SIZE(kind_names) == DISK_OP_KIND_COUNT, "a kind has no name");

static struct disk_op *
op_of(struct vmt_list *node)
{
    return VMT_CONTAINER_OF(node, struct disk_op, node);
}

const char *
disk_op_kind_name(enum disk_op_kind kind)
{
    return kind_names[kind];
}

void
disk_op_table_init(struct disk_op_table *table)
{
    vmt_list_init(&table->ops);
}

bool
disk_op_is_running(const struct disk_op *op)
{
    return op->result == DISK_RESULT_NONE;
}

struct disk_op *
disk_op_find_running(const struct disk_op_table *table, const char *owner,
                     const char *name)
{
    VMT_LIST_FOREACH(at, following, &table->ops)
    {
        struct disk_op *op = op_of(at);

        if (disk_op_is_running(op) && vm_id_compare(&op->id, owner, name) == 0)
            return op;
    }
    return NULL;
}

struct disk_op *
disk_op_find(struct disk_op_table *table, const char *uuid)
{
    VMT_LIST_FOREACH(at, following, &table->ops)
    {
        struct disk_op *op = op_of(at);

        if (strcmp(op->uuid, uuid) == 0)
            return op;
    }
    return NULL;
}

int
disk_op_may_begin(const struct disk_op_table *table, const struct vm_id *id,
                  struct vmt_err *err)
{
    const struct disk_op *other = disk_op_find_running(table, id->owner, id->name);
    size_t all = 0, own = 0;

    if (other)
        return vmt_err_setx(err, EBUSY, "%s is going on for this disk; wait or cancel it",
                            disk_op_kind_name(other->kind));
    VMT_LIST_FOREACH(at, following, &table->ops)
    {
        if (!disk_op_is_running(op_of(at)))
            continue;
        all++;
        own += strcmp(op_of(at)->id.owner, id->owner) == 0;
    }
    if (all >= DISK_OPS_RUNNING_MAX || own >= DISK_OPS_RUNNING_PER_OWNER_MAX)
        return vmt_err_setx(err, EAGAIN,
                            "too many disk operations are going on; wait for one to end");
    return 0;
}

void
disk_op_begin(struct disk_op_table *table, struct disk_op *op)
{
    vmt_list_append(&table->ops, &op->node);
}

void
disk_op_advance(struct disk_op *op, unsigned percent)
{
    if (disk_op_is_running(op) && percent > op->progress)
        op->progress = percent > 99 ? 99 : percent;
}

void
disk_op_end(struct disk_op *op, enum disk_result result, uint64_t now_ms)
{
    assert(disk_op_is_running(op) && result != DISK_RESULT_NONE);
    op->result = result;
    op->progress = 100;
    op->ended_ms = now_ms;
}

bool
disk_op_wants_signal(struct disk_op *op, uint64_t now_ms)
{
    if (op->secret)
        return false;
    if (disk_op_is_running(op) && op->signalled &&
        now_ms - op->signalled_ms < DISK_OP_SIGNAL_MS)
        return false;
    op->signalled = true;
    op->signalled_ms = now_ms;
    return true;
}

static size_t
kept_of(struct disk_op_table *table, const char *owner)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, &table->ops)
    {
        n += !disk_op_is_running(op_of(at)) && strcmp(op_of(at)->id.owner, owner) == 0;
    }
    return n;
}

struct disk_op *
disk_op_find_expired(struct disk_op_table *table, uint64_t now_ms)
{
    VMT_LIST_FOREACH(at, following, &table->ops)
    {
        struct disk_op *op = op_of(at);

        if (disk_op_is_running(op))
            continue;
        if (op->secret || op->cancelled || now_ms - op->ended_ms >= DISK_OP_KEEP_MS ||
            kept_of(table, op->id.owner) > DISK_OPS_KEPT_PER_OWNER_MAX)
            return op;
    }
    return NULL;
}

bool
disk_op_has_ended(const struct disk_op_table *table)
{
    VMT_LIST_FOREACH(at, following, &table->ops)
    {
        if (!disk_op_is_running(op_of(at)))
            return true;
    }
    return false;
}
