/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/storage_internal.h - guests hear how much space their disks still have
 * on the host, so that they do not promise more to their programs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct concierge;
struct concierge_vm;
struct spawn_child;
struct vmt_timer;

/* Of a VM. */
struct vm_storage {
    bool wanted;              /* storage_ballooning */
    bool telling;             /* a call is in flight */
    bool failed;              /* the last one did not succeed: it was logged */
    int state;                /* told last, VmTools__StatefulDiskSpaceState; 0: never */
    uint64_t free;            /* told last */
    char *place;              /* owned; directory of its writable disk, NULL: none */
    struct spawn_child *look; /* a child that asks how much is free there, or NULL */
    uint64_t *answer;         /* owned; where it writes that, NULL: not asked yet */
    unsigned waits;           /* turns for which it has not come back */
    bool silent;              /* it had to be ended: it was logged */
};

/* VmTools__StatefulDiskSpaceState for a file system with that many bytes free. spec 11 */
int storage_state(uint64_t free_bytes);

void storage_done(struct concierge *c);
/* Note where the disks of a VM are that is about to start. */
void vm_storage_begin(struct concierge_vm *vm);
void vm_storage_done(struct concierge_vm *vm);
/* vm runs from now on. */
void storage_watch(struct concierge_vm *vm);
