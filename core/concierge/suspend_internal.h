/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/suspend_internal.h - VMs whose processors are halted for a while. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"

struct concierge_vm;
struct vmt_err;

/* How long the guest may take to get ready, and then the hypervisor to obey. */
#define SUSPEND_PREPARE_MS 5000u
#define SUSPEND_PAUSE_MS 5000u
/* How long an answer to ResumeVm may wait for the guest's clock. */
#define RESUME_CLOCK_MS 5000u

/* As in the record; what a caller wanted stays, what the host's sleep wanted ends with
 * it. */
enum suspend_cause { SUSPEND_NONE = 0, SUSPEND_BY_CALLER, SUSPEND_BY_HOST };

/* Part of a VM. */
struct vm_power {
    enum suspend_cause cause;
    uint32_t prepare_ms;     /* of the suspension in hand */
    unsigned commands;       /* to the hypervisor that it has not answered */
    bool paused;             /* what the last of them wanted */
    bool clock_asked;        /* a SetTime after a resume is under way */
    char failure[256];       /* why the hypervisor did not obey, "" */
    struct vmt_list waiters; /* of struct power_waiter */
};

/* failure is NULL when the VM is as was wanted; borrowed for the call. */
typedef void power_done_fn(void *arg, const char *failure);

struct power_wish {
    enum suspend_cause cause;
    uint32_t prepare_ms; /* for the guest to get ready */
    power_done_fn *done; /* runs once, not from inside the call; may be NULL */
    void *arg;           /* borrowed until done */
};

enum power_outcome {
    POWER_UNDER_WAY, /* done will run */
    POWER_THERE,     /* nothing to do: done does not run */
    POWER_NOT_NOW,   /* the VM starts or stops: done does not run */
};

/* Halt vm, or let it go on (then only done and arg of wish count). Returns an enum
 * power_outcome; -ENOTSUP: this hypervisor cannot; -EBUSY: a snapshot is being made;
 * -ENOMEM. */
int vm_suspend(struct concierge_vm *vm, const struct power_wish *wish,
               struct vmt_err *err);
int vm_resume(struct concierge_vm *vm, const struct power_wish *wish,
              struct vmt_err *err);

void vm_power_init(struct concierge_vm *vm);
/* All who wait are told why nothing comes of it. */
void vm_power_drop(struct concierge_vm *vm, const char *why);

/* Put the present into a SetTimeRequest; for guest_call_spec.refresh. */
struct ProtobufCMessage;
void vm_refresh_time(struct concierge_vm *vm, struct ProtobufCMessage *message);
