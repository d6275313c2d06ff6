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
    int tap_fd, firmware_fd, pflash_fd, restore_fd; /* numbers, as above */
    uint8_t mac[HYPERVISOR_MAC_LEN];
    unsigned spare_slots;
    bool hugepages;
    int cgroup_fd;                  /* a number, as above */
    char generation[FAKE_TEXT_MAX]; /* "": none */
};

/* Calls on a running VM that a test can script one by one. */
enum fake_op {
    FAKE_OP_BALLOON_SET = 0,
    FAKE_OP_MEMORY,
    FAKE_OP_DISK_RESIZE,
    FAKE_OP_DISK_ADD,
    FAKE_OP_DISK_REMOVE,
    FAKE_OP_NIC_ADD,
    FAKE_OP_NIC_REMOVE,
    FAKE_OP_VSOCK_ADD,
    FAKE_OP_VSOCK_REMOVE,
    FAKE_OP_USB_ATTACH,
    FAKE_OP_USB_DETACH,
    FAKE_OP_SAVE,
    FAKE_OP_COUNT,
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
    int refuse[FAKE_OP_COUNT]; /* errno: the call itself returns -errno */
    int fail[FAKE_OP_COUNT];   /* errno: its callback gets -errno, nothing else happens */
    /* It answers, and happens, when the process is thawed, or fails with its end. */
    bool hold[FAKE_OP_COUNT];
    const char *build_id; /* NULL: "fake 1"; "": build_id fails with -EIO */
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
    unsigned ops[FAKE_OP_COUNT]; /* that were not refused */
};
const struct fake_calls *fake_hypervisor_calls(struct hypervisor *hv);

const struct fake_start *fake_process_start(const struct fake_process *process);
bool fake_process_is_paused(const struct fake_process *process);

/* It answers no call any more, as if it hung; signals still end it. */
void fake_process_freeze(struct fake_process *process);
/* It goes on, and answers what waited, in order. */
void fake_process_thaw(struct fake_process *process);

/* Devices that it has now. A restored vm (restore_fd) starts paused. */
#define FAKE_SERIAL_MAX 24
struct fake_disk {
    char serial[FAKE_SERIAL_MAX]; /* "": none */
    char path[FAKE_TEXT_MAX];     /* "": fd */
    int fd;                       /* a number, as in fake_start */
    bool read_only, qcow2;
    unsigned slot; /* 0: there since start, and to stay */
    uint64_t size; /* of the last disk_resize, else 0 */
};
struct fake_nic {
    char id[FAKE_SERIAL_MAX];
    int tap_fd;
    uint8_t mac[HYPERVISOR_MAC_LEN];
    unsigned slot;
};
/* NULL: it has no such device. */
const struct fake_disk *fake_process_disk(const struct fake_process *process,
                                          const char *serial);
const struct fake_nic *fake_process_nic(const struct fake_process *process,
                                        const char *id);
/* Its socket, or NULL when there is no vhost-user vsock device. */
const char *fake_process_vsock(const struct fake_process *process);
/* The number of the descriptor in a port, or -1. */
int fake_process_usb(const struct fake_process *process, unsigned port);
/* What save writes. */
#define FAKE_STATE_BYTES 40
/* Bytes that the balloon was last set to. */
uint64_t fake_process_balloon(const struct fake_process *process);
/* The guest's driver is busy: its balloon holds what it does now, until it no longer is.
 */
void fake_process_stick_balloon(struct fake_process *process, bool stuck);
/* The number of the descriptor that it was last saved to, or -1. */
int fake_process_saved(const struct fake_process *process);
/* What memory answers from now on, but for balloon, which follows balloon_set. NULL:
 * -EAGAIN, as at the start. */
void fake_process_set_memory(struct fake_process *process,
                             const struct hypervisor_memory *memory);
/* Does the guest let go of devices? It does at the start. If not, removing them gives
 * -ETIMEDOUT. */
void fake_process_set_consent(struct fake_process *process, bool consent);
/* It lets go of its vsock device now, which a removal has given up on. */
void fake_process_lose_vsock(struct fake_process *process);

/* The control channel answers from the next turn on. */
void fake_process_control(struct fake_process *process);
/* The guest panics; fake_process_exit is the test's to call. */
void fake_process_panic(struct fake_process *process);
/* The process ends for reason on the next turn; text (copied) is its last words. A killed
 * one dies of SIGKILL, a refused configuration has exit code 1, all others 0. */
void fake_process_exit(struct fake_process *process, enum hypervisor_exit reason,
                       const char *text);
