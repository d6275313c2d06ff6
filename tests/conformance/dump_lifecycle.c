/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/conformance/dump_lifecycle.c - the life cycle's table as a Mermaid state diagram,
 * for docs/concierge.md. Events that leave a VM where it is, and do nothing, are not
 * shown. */
#include <stdio.h>
#include <string.h>

#include "core/vm/lifecycle.h"

#define TEXT_MAX 256
#define ID_MAX 32

/* "event, event" of one arrow; "" if there is none. */
static void
events_between(enum vm_state from, struct vm_cell cell, char text[TEXT_MAX])
{
    text[0] = '\0';
    for (int e = 0; e < VM_EVENT_COUNT; e++) {
        struct vm_cell other = vm_lifecycle_next(from, (enum vm_event)e);
        size_t len = strlen(text);

        if (other.state == cell.state && other.action == cell.action)
            (void)snprintf(text + len, TEXT_MAX - len, "%s%s", len ? ", " : "",
                           vm_event_name((enum vm_event)e));
    }
}

/* Mermaid ends a state's name at a hyphen. */
static const char *
id_of(enum vm_state state, char id[ID_MAX])
{
    (void)snprintf(id, ID_MAX, "%s", vm_state_name(state));
    for (char *c = id; *c; c++)
        if (*c == '-')
            *c = '_';
    return id;
}

static void
dump_arrow(enum vm_state from, enum vm_state to, enum vm_action action)
{
    const struct vm_cell cell = {to, action};
    char text[TEXT_MAX], id[2][ID_MAX];

    if (from == to && action == VM_ACT_NONE)
        return;
    events_between(from, cell, text);
    if (!text[0])
        return;
    (void)printf("    %s --> %s: %s", id_of(from, id[0]), id_of(to, id[1]), text);
    if (action != VM_ACT_NONE)
        (void)printf(" / %s", vm_action_name(action));
    (void)puts("");
}

int
main(void)
{
    (void)printf("stateDiagram-v2\n    [*] --> %s\n", vm_state_name(VM_CREATED));
    for (int from = VM_CREATED; from < VM_STATE_COUNT; from++)
        for (int to = VM_CREATED; to < VM_STATE_COUNT; to++)
            for (int action = 0; action < VM_ACTION_COUNT; action++)
                dump_arrow((enum vm_state)from, (enum vm_state)to,
                           (enum vm_action)action);
    (void)printf("    %s --> [*]\n", vm_state_name(VM_GONE));
    return 0;
}
