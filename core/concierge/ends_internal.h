/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/ends_internal.h - how VMs ended, and who waits for that. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"

struct concierge;
struct concierge_vm;
struct hypervisor_exit_info;
struct vmt_timer;
struct end_message;

/* Ends that are remembered, one per VM name; the oldest go first. */
#define ENDS_MAX 64u
#define END_TEXT_MAX 200
/* From an end to the record of it: several are written at once. */
#define ENDS_SAVE_MS 500u
/* Calls of WaitVm for one VM. */
#define WAITS_MAX 64u

enum end_cause {
    END_UNKNOWN = 0,
    END_STOPPED,
    END_POWEROFF,
    END_REBOOT,
    END_PANIC,
    END_KILLED,
    END_CONFIG,
    END_ACCEL,
    END_DEVICE,
    END_START,
    END_LOST,
    END_CAUSE_COUNT
};

/* Part of the daemon. */
struct concierge_ends {
    struct vmt_list ends; /* of struct vm_end, oldest first */
    unsigned count;
    struct vmt_timer *save; /* owned while something is not written */
};

/* Part of a VM: what is known of its end so far, in the end all of it. */
struct vm_life {
    enum end_cause cause;
    int exit_code, signal;
    int64_t ended_s;
    uint64_t running_us; /* clock when the start was answered, 0: it never was */
    uint64_t uptime_ms;

    bool asked;              /* somebody wanted the end */
    bool lost;               /* nobody was there when it ended */
    bool device;             /* the vsock device died */
    char text[END_TEXT_MAX]; /* printable */
    struct vmt_list waits;   /* of struct vm_wait */
    unsigned nwaits;
};

void ends_init(struct concierge *c);
void ends_done(struct concierge *c);
/* Read what an earlier daemon wrote down. */
void ends_load(struct concierge *c);

void life_init(struct concierge_vm *vm);
/* Those who wait are told why they never will know. */
void life_done(struct concierge_vm *vm);
/* The hypervisor is gone. */
void life_note_exit(struct concierge_vm *vm, const struct hypervisor_exit_info *info);
/* The VM is over: decide on the cause, remember it. */
void life_end(struct concierge_vm *vm);
/* Tell all who wait. After the VM's signal. */
void life_tell(struct concierge_vm *vm);
/* For messages; strings are borrowed from vm. */
void life_fill(const struct concierge_vm *vm, struct end_message *message);
/* Milliseconds since the start was answered, 0: it was not. */
uint64_t life_uptime_ms(const struct concierge_vm *vm);

/* The last end of a VM of that name, or NULL. */
struct vm_end;
const struct vm_end *ends_find(struct concierge *c, const char *owner, const char *name);
/* For messages; strings are borrowed from end. */
void end_fill(struct concierge *c, const struct vm_end *end, struct end_message *message);
