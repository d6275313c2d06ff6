/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/hypervisor/suite.h - what every hypervisor backend must do. A backend
 * brings the hooks below and a main that returns suite_run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/hypervisor.h"

struct os_loop;
struct suite;
struct vmt_clock;

struct suite_backend {
    /* Make the hypervisor under test. */
    struct hypervisor *(*open)(struct suite *s);
    /* Look for what is left, before ops->free. May be NULL. */
    void (*close)(struct suite *s);
    /* Descriptors of what the guest boots; they live as long as the process. */
    int kernel_fd, initrd_fd;
    /* The vm runs and its control channel answers. A guest that obeys "vmt_test=<act>" on
     * its command line needs nothing here; another must be made to do act now:
     * "poweroff", "reset" or "panic". May be NULL. */
    void (*act)(struct suite *s, const char *act);
    /* Make a process that was started with a disk that does not exist refuse it. NULL: it
     * does that by itself. */
    void (*refuse)(struct suite *s);
    /* Stop the process from answering; it can still be killed. */
    void (*freeze)(struct suite *s);
    /* Kill the process from outside, as an administrator would. */
    void (*murder)(struct suite *s);
    /* What a probe answers when the guest comes up. */
    enum hypervisor_accel probed;
    /* Does the console of a guest that powered itself off hold this? NULL: none. */
    const char *console_text;
    /* Make the guest report its memory. NULL: it does that by itself. */
    void (*tell_memory)(struct suite *s);
    /* Firmware with an empty store of variables, to boot without a kernel; what it says
     * on the console. NULL: nothing to boot. */
    const char *firmware, *variables, *firmware_text;
    /* What attaching a descriptor of /dev/null as a USB device gives. */
    int usb_null_result;
};

/* State of one test. */
struct suite {
    const struct suite_backend *backend;
    struct os_loop *loop;
    struct vmt_clock *clock;
    struct spawn *spawn;
    struct hypervisor *hv;
    struct hypervisor_vm *vm;
    char dir[64];     /* run_dir, empty before and after */
    char console[96]; /* file beside it */
    int console_fd;
    struct vmt_timer *watchdog;
    /* What came, in order: "control", "panic", "exit", "done", separated by spaces. */
    char log[256];
    unsigned controls, panics, exits, dones, probes;
    int done_result;
    struct hypervisor_memory memory; /* of the last answer that had one */
    struct hypervisor_exit_info exit;
    char exit_text[512];
    struct hypervisor_probe *probe;
    enum hypervisor_accel accel; /* of the last probe, as reason */
    char reason[256];
    bool inside;        /* a call into the backend is on the stack */
    bool free_on_event; /* free the vm inside the next callback */
};

/* What suite_run was given. */
extern const struct suite_backend *suite_under_test;

/* A test with a hypervisor and an empty run_dir. */
#define SUITE_TEST(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)
int suite_setup(void **state);
int suite_teardown(void **state);

/* A small VM with the backend's guest; cmdline is borrowed. */
struct vm_spec suite_spec(struct suite *s, const char *cmdline);
void suite_start(struct suite *s, const struct vm_spec *spec);
void suite_start_and_control(struct suite *s, const char *cmdline);
void suite_quit_and_exit(struct suite *s);
/* Turn the loop until *counter is not 0, and fail the test if that takes too long. */
void suite_wait(struct suite *s, const unsigned *counter);
/* Turn the loop until the guest has written text to its console; at once for a backend
 * without guests. */
void suite_wait_console(struct suite *s, const char *text);
/* Turn the loop for so long, or until something is noted. */
void suite_pass(struct suite *s, unsigned ms);
/* Let everything that is due happen. */
void suite_settle(struct suite *s);
/* A hypervisor_done_fn that records into arg, a struct suite. */
void suite_on_done(void *arg, int result, const struct vmt_err *err);
/* The same for a hypervisor_memory_fn. */
void suite_on_memory(void *arg, int result, const struct hypervisor_memory *memory);
/* The same for a hypervisor_probe_fn. */
void suite_on_probe(void *arg, enum hypervisor_accel accel, const char *reason,
                    bool from_cache);
extern const struct hypervisor_events suite_events;
/* A memory file of 1 MiB, open for reading and writing; the caller closes it. */
int suite_disk(void);

/* suite_devices.c: the tests of memory and devices. Returns how many failed. */
int suite_devices_run(void);

/* suite_state.c: saving and restoring. Returns how many failed. */
int suite_state_run(void);

/* Run all tests; returns what main returns. */
int suite_run(const struct suite_backend *backend);
