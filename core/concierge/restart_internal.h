/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/restart_internal.h - VMs that are started again when they end.
 *
 * What a start was given is kept: the request, and its descriptors. A daemon that takes
 * over has the request only, and where the files of the descriptors were: it opens them
 * with the caller's rights, and only if they are the very same files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct concierge;
struct concierge_vm;
struct ipc_caller;
struct vm_id;
struct vm_restart;
struct vmt_err;
typedef struct VmTools__Concierge__StartVmRequest VmTools__Concierge__StartVmRequest;
typedef struct Vmt__RestartRecord Vmt__RestartRecord;

/* A request that is larger could not be written down. */
#define RESTART_REQUEST_MAX 16384u

/* Keep what request needs to be done again; *ret_restart is NULL when its policy is
 * never. fds are borrowed. Returns 0, -EINVAL for a policy that is none, -ENOMEM. */
int restart_keep(struct concierge *c, const VmTools__Concierge__StartVmRequest *request,
                 const struct ipc_caller *caller, const int *fds, size_t nfds,
                 struct vm_restart **ret_restart, struct vmt_err *err);
void restart_free(struct vm_restart *restart); /* NULL is legal */

/* vm is over: start it again later, if that is its policy. Then the restart is no longer
 * vm's, and its record takes the place of vm's. Returns whether it is so. */
bool restart_consider(struct concierge_vm *vm);
/* Is one of that name waiting, and for how long still? */
bool restart_is_due(struct concierge *c, const struct vm_id *id, uint32_t *ret_in_ms);
/* Restarts in a row that led to vm. */
unsigned restart_count(const struct concierge_vm *vm);
/* "never", "on-failure" or "always". */
const char *restart_mode_name(const struct concierge_vm *vm);
/* Nobody wants it any more. Returns whether there was one; name NULL: of all VMs, owner
 * NULL: of that name of all owners. */
bool restart_cancel(struct concierge *c, const char *owner, const char *name);
/* How many of owner (NULL: of all) wait, but for the one of that name (NULL: none). */
size_t restart_pending(const struct concierge *c, const char *owner, const char *name);
void restarts_init(struct concierge *c);
/* Without forgetting the records. */
void restarts_done(struct concierge *c);

/* --- for records; what record points to is owned by the room --- */
struct restart_room;
int restart_record_fill(const struct vm_restart *restart, struct restart_room **ret_room,
                        Vmt__RestartRecord **ret_record);
void restart_room_free(struct restart_room *room);
int restart_record_read(struct concierge *c, const struct vm_id *id,
                        const Vmt__RestartRecord *record,
                        struct vm_restart **ret_restart);
/* A restart that an earlier daemon did not live to make. */
void restart_adopt(struct concierge *c, struct vm_restart *restart);
