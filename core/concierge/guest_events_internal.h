/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/guest_events_internal.h - what a guest tells of itself:
 * vmt.GuestListener beside vm_tools.StartupListener. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct concierge_vm;
struct rpc_server_call;
struct rpc_server_service;
typedef struct VmTools__Concierge__VmInfo VmTools__Concierge__VmInfo;
typedef struct Vmt__ApplicationEnd Vmt__ApplicationEnd;
typedef struct Vmt__VmRecord Vmt__VmRecord;

#define GUEST_EVENT_TEXT_MAX 128
/* Lines in the log that one guest can cause this way. */
#define GUEST_EVENTS_LOGGED_MAX 100u

/* How the program ended that the guest was there for. */
struct guest_application {
    bool is_over;
    int exit_code, signal;
    char program[GUEST_EVENT_TEXT_MAX]; /* printable */
};

/* Part of a VM. */
struct guest_events {
    struct guest_application application;
    struct rpc_server_call *waiting; /* owned: its guest waits with going off */
    uint64_t oom_kills;
    char oom_group[GUEST_EVENT_TEXT_MAX]; /* printable; "": no group of ours */
    unsigned pressure_permille;
    char last_words[GUEST_EVENT_TEXT_MAX]; /* printable */
    unsigned logged;
};

/* ctx is the calling VM, NULL for a stranger. */
extern const struct rpc_server_service guest_events_service;

/* The VM runs, or is being stopped: a guest whose program has ended may go off. */
void guest_events_release(struct concierge_vm *vm);

/* For messages; strings are borrowed from vm. */
void guest_events_info(const struct concierge_vm *vm, VmTools__Concierge__VmInfo *info);
void guest_events_record_read(struct concierge_vm *vm, const Vmt__VmRecord *record);
/* end is filled for record. */
void guest_events_record_fill(const struct concierge_vm *vm, Vmt__ApplicationEnd *end,
                              Vmt__VmRecord *record);

/* Did the program fail? False when there is none. */
bool guest_application_failed(const struct guest_application *application);
void guest_application_fill(const struct guest_application *application,
                            Vmt__ApplicationEnd *end);
/* NULL: there is none. */
void guest_application_read(struct guest_application *application,
                            const Vmt__ApplicationEnd *end);
