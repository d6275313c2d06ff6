/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/list.h - intrusive doubly linked list with a sentinel head. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/base/cleanup.h"

struct vmt_list {
    struct vmt_list *next, *prev; /* borrowed; a head of an empty list points to itself */
};

static inline void
vmt_list_init(struct vmt_list *head)
{
    head->next = head->prev = head;
}

static inline bool
vmt_list_empty(const struct vmt_list *head)
{
    return head->next == head;
}

static inline void
vmt_list_append(struct vmt_list *head, struct vmt_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Take a node out; it may be removed again, or be all zeroes, without effect. */
static inline void
vmt_list_remove(struct vmt_list *node)
{
    if (!node->next)
        return;
    node->next->prev = node->prev;
    node->prev->next = node->next;
    node->next = node->prev = NULL;
}

/* The node may be removed inside the loop; next is a second cursor. */
#define VMT_LIST_FOREACH(cursor, following, head)                                        \
    for (struct vmt_list *cursor = (head)->next, *following = cursor->next;              \
         cursor != (head); cursor = following, following = cursor->next)
