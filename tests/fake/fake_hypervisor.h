/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_hypervisor.h - a hypervisor without processes: it records what it is
 * asked to do, and the test decides what its VMs do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/hypervisor.h"

struct fake_process;
struct vmt_clock;

#define FAKE_TEXT_MAX 128
#define FAKE_DISKS_MAX 8

/* What start was given, copied. */
struct fake_start {
    char name[FAKE_TEXT_MAX];
    char run_dir[FAKE_TEXT_MAX];
    char cmdline[4 * FAKE_TEXT_MAX];
    char vsock_socket[FAKE_TEXT_MAX];
    int kernel_fd, initrd_fd, console_fd; /* numbers only: they may be closed by now */
    uint32_t cid, mem_mib, vcpus;
    enum hypervisor_accel accel;
    enum hypervisor_net net;
    enum hypervisor_vsock vsock;
    struct hypervisor_disk disks[FAKE_DISKS_MAX]; /* path and serial are NULL here */
    size_t ndisks;
};

/* How the processes answer; set before or during a test. All zeroes: control answers by
 * itself one turn after start, quit and signals end the process, the power button is
 * heard but nothing follows. */
struct fake_behaviour {
    bool no_control;         /* control answers only with fake_process_control */
    bool ignore_quit;        /* quit is accepted and nothing happens */
    bool ignore_sigterm;     /* only SIGKILL ends the process */
    bool power_button_works; /* the guest switches itself off */
    int start_error;         /* errno: start fails with it */
    int call_error; /* errno: power_button and pause answer -errno to their callback */
};

/* Every callback is fired from a timer of clock, never from inside a call. caps 0: all.
 * clock is borrowed. Freed by ops->free, which also drops processes that still run. */
int fake_hypervisor_new(struct vmt_clock *clock, uint32_t caps,
                        struct hypervisor **ret_hv);

struct fake_behaviour *fake_hypervisor_behaviour(struct hypervisor *hv);

/* What the next probes say; the default is TCG, "no probe was scripted". reason is
 * borrowed. */
void fake_hypervisor_set_probe(struct hypervisor *hv, enum hypervisor_accel accel,
                               const char *reason, bool from_cache);
/* Probes answer only when this is called; they answer by themselves otherwise. */
void fake_hypervisor_hold_probes(struct hypervisor *hv, bool held);

/* Processes that run, adopted or not, oldest first. */
size_t fake_hypervisor_count(struct hypervisor *hv);
struct fake_process *fake_hypervisor_process(struct hypervisor *hv, size_t index);
/* The running process of the vm of this name, or NULL. */
struct fake_process *fake_hypervisor_find(struct hypervisor *hv, const char *name);

/* Calls so far, over all VMs. */
struct fake_calls {
    unsigned starts, adopts, probes, power_buttons, quits, kills, pauses, resumes, frees;
    int last_signal;
};
const struct fake_calls *fake_hypervisor_calls(struct hypervisor *hv);

const struct fake_start *fake_process_start(const struct fake_process *process);
bool fake_process_is_paused(const struct fake_process *process);

/* It answers no call any more, as if it hung; signals still end it. */
void fake_process_freeze(struct fake_process *process);

/* The control channel answers from the next turn on. */
void fake_process_control(struct fake_process *process);
/* The guest panics; fake_process_exit is the test's to call. */
void fake_process_panic(struct fake_process *process);
/* The process ends for reason on the next turn; text (copied) is its last words. A killed
 * one dies of SIGKILL, a refused configuration has exit code 1, all others 0. */
void fake_process_exit(struct fake_process *process, enum hypervisor_exit reason,
                       const char *text);
