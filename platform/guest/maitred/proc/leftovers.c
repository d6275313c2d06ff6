/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/leftovers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/list.h"
#include "platform/guest/maitred/proc/group.h"

struct leftover {
    struct vmt_list node;
    char name[GROUP_NAME_MAX];
};

static void
leftover_free(struct leftover *l)
{
    vmt_list_remove(&l->node);
    free(l);
}

void
leftovers_init(struct vmt_list *list)
{
    vmt_list_init(list);
}

void
leftovers_done(struct vmt_list *list)
{
    VMT_LIST_FOREACH(at, next, list)
    leftover_free(VMT_CONTAINER_OF(at, struct leftover, node));
}

void
leftovers_add(struct vmt_list *list, const char *name)
{
    struct leftover *l = calloc(1, sizeof(*l));

    if (!l)
        return;
    (void)snprintf(l->name, sizeof(l->name), "%s", name);
    vmt_list_append(list, &l->node);
}

void
leftovers_forget(struct vmt_list *list, const char *name)
{
    VMT_LIST_FOREACH(at, next, list)
    {
        struct leftover *l = VMT_CONTAINER_OF(at, struct leftover, node);

        if (strcmp(l->name, name) == 0)
            leftover_free(l);
    }
}

void
leftovers_remove(struct vmt_list *list, int parent)
{
    VMT_LIST_FOREACH(at, next, list)
    {
        struct leftover *l = VMT_CONTAINER_OF(at, struct leftover, node);

        if (group_remove(parent, l->name) != -EBUSY)
            leftover_free(l);
    }
}
