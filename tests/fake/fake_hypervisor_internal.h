/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_hypervisor_internal.h - what the files of the fake share. */
#pragma once

#include "core/adapter/clock.h"
#include "core/base/list.h"
#include "tests/fake/fake_hypervisor.h"

/* The adapter itself. */
struct fake {
    struct hypervisor base;
    struct hypervisor_ops ops; /* with the caps of this one */
    struct vmt_clock *clock;   /* borrowed */
    struct vmt_list processes; /* struct fake_process, owned, those that run */
    struct vmt_list probes;    /* struct hypervisor_probe, owned */
    struct fake_behaviour behaviour;
    struct fake_calls calls;
    int32_t next_pid;
    enum hypervisor_accel accel;
    const char *reason; /* borrowed */
    bool from_cache, probes_held;
};

#define FAKE_SLOTS_MAX 32

/* What is plugged into one process; see fake_devices.c. */
struct fake_devices {
    struct fake_disk disks[FAKE_DISKS_MAX + FAKE_SLOTS_MAX];
    size_t ndisks;
    struct fake_nic nics[FAKE_SLOTS_MAX];
    size_t nnics;
    bool used[FAKE_SLOTS_MAX + 1]; /* slots by number; 0 is none */
    int usb[HYPERVISOR_USB_PORT_MAX + 1];
    unsigned usb_slot; /* 0: no controller yet */
    char vsock[FAKE_TEXT_MAX];
    bool has_vsock, stubborn;
    uint64_t balloon;  /* that it shall hold */
    uint64_t inflated; /* that it holds, while stuck */
    bool stuck;
    struct hypervisor_memory memory;
    bool has_memory;
    int saved;
};

/* The process runs with or without somebody who watches it. */
struct fake_process {
    struct vmt_list node;
    struct fake *hv;          /* borrowed */
    struct hypervisor_vm *vm; /* who watches, or NULL */
    struct spawn_id id;
    struct fake_start start;
    struct vmt_timer *exit_timer;
    enum hypervisor_exit reason;
    char text[FAKE_TEXT_MAX];
    bool paused, frozen;
    struct fake_devices devices;
};

/* A call whose answer comes on the next turn. */
struct fake_call {
    struct vmt_list node;
    struct hypervisor_vm *vm; /* borrowed */
    struct vmt_timer *timer;
    hypervisor_done_fn *done;
    hypervisor_memory_fn *memory_done;
    void *arg;
    int result;
    /* What happens when a call succeeds, before it is answered; NULL: nothing. Returns
     * its result. The arguments of a call are below. */
    int (*apply)(struct fake_process *p, struct fake_call *c);
    struct fake_disk disk;
    struct fake_nic nic;
    char text[FAKE_TEXT_MAX];
    uint64_t number;
    int fd;
};

struct hypervisor_vm {
    struct fake *hv;              /* borrowed */
    struct fake_process *process; /* borrowed, NULL: gone */
    const struct hypervisor_events *events;
    void *arg;
    struct spawn_id id;
    struct vmt_list pending; /* struct fake_call, owned */
    struct vmt_timer *control_timer, *panic_timer;
    bool control, adopted;
};

struct hypervisor_probe {
    struct vmt_list node;
    struct fake *hv; /* borrowed */
    struct vmt_timer *timer;
    hypervisor_probe_fn *on_done;
    void *arg;
};

/* Run fn on the next turn, unless *ret_timer already waits. */
void fake_later(struct fake *hv, vmt_timer_fn *fn, void *arg,
                struct vmt_timer **ret_timer);
/* *timer may be NULL, and is NULL after. */
void fake_cancel(struct fake *hv, struct vmt_timer **timer);

/* Without any callback. */
void fake_process_free(struct fake_process *p);
void fake_call_free(struct fake_call *c);
/* Answer and free arg, a struct fake_call. */
void fake_call_fire(void *arg);

/* fake_devices.c: what spec brings, and the slots of the table from balloon_set to
 * save. */
void fake_devices_init(struct fake_devices *devices, const struct vm_spec *spec);
void fake_devices_ops(struct hypervisor_ops *ops);
