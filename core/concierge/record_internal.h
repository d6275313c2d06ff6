/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/record_internal.h - reading records back. */
#pragma once

#include <stdbool.h>

#include "core/vm/lease.h"
#include "vmt_state.pb-c.h"

struct ProtobufCMessage;
struct concierge;
struct concierge_numbers;
struct concierge_vm;
struct vmt_err;

/* Replace the record of that name. Returns 0 or -errno with words. */
int concierge_record_put(struct concierge *c, const char *name,
                         const struct ProtobufCMessage *message, struct vmt_err *err);
#define DAEMON_RECORD "daemon"
#define ENDS_RECORD "ends"

bool record_is_of_a_vm(const char *name);

/* Between two lives of a VM: its record has only how to start it. */
struct vm_id;
struct vm_restart;
int restart_record_save(struct concierge *c, const struct vm_id *id,
                        const struct vm_restart *restart, struct vmt_err *err);
void restart_record_remove(struct concierge *c, const struct vm_id *id);

/* The VM that a record tells of, in state CREATED and in no list, with the ids of its
 * processes but no handles. NULL: it waits to be started again, which is seen to. Returns
 * 0, -EBADMSG for a damaged record, -EINVAL for one
 * that names no valid VM, -ENOMEM. */
int vm_record_load(struct concierge *c, const char *name, struct concierge_vm **ret_vm,
                   struct vmt_err *err);

/* --- record_network.c --- */
/* What a record points into while it is packed. */
struct numbers_record {
    Vmt__LeaseRecord leases[VM_LEASES_MAX];
    Vmt__LeaseRecord *list[VM_LEASES_MAX];
};
/* Fill record; it points into numbers and room. */
void numbers_record_fill(const struct concierge_numbers *numbers,
                         Vmt__DaemonRecord *record, struct numbers_record *room);
/* Values out of range count as none. */
void numbers_record_read(struct concierge_numbers *numbers,
                         const Vmt__DaemonRecord *record);
/* The same for one VM; record is NULL when a daemon wrote none. */
void network_record_fill(const struct concierge_vm *vm, Vmt__NetworkRecord *record);
void network_record_read(struct concierge_vm *vm, const Vmt__NetworkRecord *record);

/* --- record_memory.c --- */
void record_memory_fill(const struct concierge *c, Vmt__DaemonRecord *record);
void record_memory_read(struct concierge *c, const Vmt__DaemonRecord *record);
/* Of a VM; reading needs its run_dir. */
void record_cpu_fill(const struct concierge_vm *vm, Vmt__VmRecord *record);
void record_cpu_read(struct concierge_vm *vm, const Vmt__VmRecord *record);
