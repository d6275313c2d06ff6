/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/snapshot_internal.h - states of running VMs, kept until they are
 * deleted.
 *
 * A snapshot is a directory: state, a copy of each disk that the VM can write, and a
 * record, written last. What has no record is none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/concierge/guest_call_internal.h"
#include "core/vm/id.h"

struct concierge;
struct concierge_vm;
struct ipc_call;
struct snapshot_op;
struct vmt_err;
typedef struct Vmt__Snapshot Vmt__Snapshot;
typedef struct Vmt__SnapshotRecord Vmt__SnapshotRecord;

/* "snapshots/", the key of the VM, the same of the snapshot's name, and a file. */
#define SNAPSHOT_PATH_MAX (2 * VM_KEY_MAX + 48)

struct snapshot_id {
    struct vm_id vm;
    char name[VMT_VM_NAME_MAX + 1];
    char dir[SNAPSHOT_PATH_MAX - 24];
};

/* --- snapshot_store.c --- */
/* Returns 0 or -EINVAL with words. */
int snapshot_id_set(struct snapshot_id *id, const char *owner, const char *vm,
                    const char *name, struct vmt_err *err);
/* The path of a file of the snapshot. Returns buf. */
const char *snapshot_file(const struct snapshot_id *id, const char *file,
                          char buf[SNAPSHOT_PATH_MAX]);
/* Returns 0 and a record for vmt__snapshot_record__free_unpacked, -ENOENT, -EBADMSG. */
int snapshot_load(struct concierge *c, const struct snapshot_id *id,
                  Vmt__SnapshotRecord **ret_record, struct vmt_err *err);
int snapshot_save(struct concierge *c, const struct snapshot_id *id,
                  const Vmt__SnapshotRecord *record, struct vmt_err *err);
/* Make the state in state_fd, which stays the caller's, and the copies of disks in the
 * directory of id a snapshot of vm; fill in what it is. The texts in it are borrowed from
 * id. (snapshot_keep.c) */
int snapshot_keep(struct concierge_vm *vm, const struct snapshot_id *id, int state_fd,
                  Vmt__Snapshot *snapshot, struct vmt_err *err);
void snapshot_remove(struct concierge *c, const struct snapshot_id *id);
/* Is there room for one more of this owner? Returns 0 or -ENOSPC with words. */
int snapshot_check_room(struct concierge *c, const char *owner, struct vmt_err *err);
/* Do the files of id, which has no record yet, fit beside the snapshots of its owner?
 * Returns 0 and how much they take, -ENOSPC with words, or -errno. */
int snapshot_check_size(struct concierge *c, const struct snapshot_id *id,
                        uint64_t *ret_bytes, struct vmt_err *err);
/* Call fn with every whole snapshot of an owner, or of one VM (vm not ""). */
int snapshot_each(struct concierge *c, const char *owner, const char *vm,
                  void (*fn)(void *arg, const Vmt__SnapshotRecord *record), void *arg,
                  struct vmt_err *err);
/* Remove what a death of the daemon left unfinished. */
void snapshots_clean(struct concierge *c);
void snapshot_tell(struct concierge *c, const struct snapshot_id *id, const char *step,
                   uint64_t done, uint64_t total);

/* --- snapshot_copy.c: copies of disks, by vm_disk --- */
struct snapshot_copy {
    struct concierge_vm *vm; /* borrowed */
    const struct snapshot_id *id;
    uint32_t uid; /* whose rights count for disks that are not in the owner's folder */
    bool back;    /* from the snapshot to the disks, else to the snapshot */
    void (*done)(void *arg, const char *failure); /* runs once, from the loop */
    void *arg;
    size_t next; /* image */
    struct spawn_child *worker;
    struct opening *opening; /* of the folder of the next one */
    struct vmt_timer *timer;
};
/* Copy every disk that the VM can write, one after the other. Returns 0 or -errno. */
int snapshot_copy_start(struct snapshot_copy *copy, struct vmt_err *err);
/* done will not run any more. */
void snapshot_copy_cancel(struct snapshot_copy *copy);

/* --- snapshot.c: make one --- */
/* Begin; call is answered when it is over. On failure it is still the caller's. */
int vm_snapshot_start(struct concierge_vm *vm, const struct snapshot_id *id,
                      struct ipc_call *call, struct vmt_err *err);
/* The VM ends, or has to go on at once: what was begun is undone as far as it can be. */
void vm_snapshot_cancel(struct concierge_vm *vm, const char *why);
/* The daemon ends, and leaves the VM as it is: its heir makes it go on. */
void vm_snapshot_forget(struct concierge_vm *vm);
bool vm_snapshot_is_going_on(const struct concierge_vm *vm);

/* --- snapshot_undo.c --- */
/* The control channel of a VM answers whose daemon died while it made a snapshot. */
void vm_snapshot_on_control(struct concierge_vm *vm);
/* Has its machine no vsock device now, because a snapshot is being made of it? */
bool vm_snapshot_has_no_vsock(const struct concierge_vm *vm);
/* The guest has let go of its vsock device when nobody waited for that any more: it gets
 * one again, or nobody could reach it. */
void vm_snapshot_on_vsock_gone(struct concierge_vm *vm);
/* Put back what a snapshot took from vm. It counts as frozen, also to an heir, until its
 * guest has answered to the thaw. */
void snapshot_undo(struct concierge_vm *vm);
/* Save the record of vm, which knows whether it is frozen. */
void snapshot_remember(struct concierge_vm *vm);

/* --- snapshot_restore.c --- */
/* A VM in state CREATED that will start from the snapshot, with its disks put back first;
 * then PROBED comes. */
int snapshot_restore(struct concierge *c, const struct snapshot_id *id,
                     struct ipc_call *call, struct vmt_err *err);
/* Its state, for the hypervisor; the caller's. Below 0: gone. */
int vm_restore_open(struct concierge_vm *vm);
/* Let the programs of a guest go on, which a snapshot froze; done may not free vm. */
int vm_thaw(struct concierge_vm *vm, guest_call_fn *done, struct vmt_err *err);
/* Its end before it was launched, or no more need of it. */
void vm_restore_cancel(struct concierge_vm *vm);
