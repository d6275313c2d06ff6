/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/vm_internal.h - one QEMU process, as the files of this room see it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "core/adapter/hypervisor.h"
#include "core/base/list.h"
#include "hypervisor/qemu/exit_internal.h"
#include "hypervisor/qemu/qmp_internal.h"
#include "hypervisor/qemu/tail_internal.h"

struct qemu;
struct qemu_state;
struct vmt_timer;

struct hypervisor_vm {
    struct qemu *hv;                        /* borrowed */
    const struct hypervisor_events *events; /* borrowed, as arg */
    void *arg;
    struct spawn_child *child; /* NULL: gone */
    struct spawn_id id;
    struct qmp *qmp;             /* owned, NULL: no control channel */
    struct vmt_timer *reconnect; /* owned by the clock: to have one again, or NULL */
    unsigned pause_ms;           /* before the next try; 0: the first one */
    char *qmp_path;              /* owned */
    struct qemu_tail tail;
    struct qemu_exit_facts facts;
    struct vmt_list jobs;     /* struct qemu_job, owned: calls under way */
    struct qemu_state *state; /* owned; a save or restore under way, or NULL */
    uint64_t controlled_ms;   /* when the channel answered last */
    bool adopted;             /* an earlier daemon started it */
    bool freed;               /* by the owner: no callback any more */
    unsigned busy; /* our callbacks on the stack; the last one releases a freed vm */
};

/* The control channel answers and the state is loaded: tell the owner. */
void qemu_vm_control(struct hypervisor_vm *vm);
