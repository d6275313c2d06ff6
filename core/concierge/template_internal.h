/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/template_internal.h - saved states that VMs start from.
 *
 * A template is the state of a guest that has booted and belongs to nobody yet: its agent
 * waits for an identity. It holds no data of any VM: the disks that a VM can write, its
 * vsock device and its name come after the restore. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/hypervisor.h"
#include "core/base/list.h"
#include "core/snapshot/key.h"
#include "core/vm/id.h"

struct concierge;
struct concierge_vm;
struct host;
struct template_builder;
struct vmt_err;

/* Devices that can be plugged into a VM: its vsock device after a restore, a disk, and
 * what its owner adds. A port costs a guest about 10 ms of its boot. */
#define VM_SPARE_SLOTS 4u
/* With more disks than this beside the root image a VM boots: which of several is
 * /dev/vdb is not certain when they are plugged in at once. */
#define TEMPLATE_DISKS_MAX 1u

#define TEMPLATE_PARAM "maitred.template"
#define TEMPLATE_PATH_MAX                                                                \
    (sizeof("templates/") + 2 * SNAPSHOT_NAME_MAX + sizeof(".record"))

/* What a template is made of, and with what it is made. */
struct template_shape {
    struct vmt_list node;          /* of the builder's queue */
    struct host *host;             /* borrowed; closes the descriptors */
    char *key;                     /* owned: snapshot_key */
    char *build_id;                /* owned */
    char *cmdline;                 /* owned: of the kernel in the template */
    char dir[TEMPLATE_PATH_MAX];   /* of its owner's templates */
    char state[TEMPLATE_PATH_MAX]; /* the file with the state */
    char record[TEMPLATE_PATH_MAX];
    int kernel_fd, initrd_fd, root_fd; /* owned, -1: none, or not needed */
    uint32_t mem_mib, cpus;
    enum hypervisor_accel accel;
    enum hypervisor_net net;
};
void template_shape_free(struct template_shape *shape);

enum template_found {
    TEMPLATE_NONE = 0,
    TEMPLATE_READY,
    TEMPLATE_FAILED, /* it could not be made, not long ago */
};

/* --- template.c: the store --- */
/* Are there to be templates at all? */
bool templates_wanted(const struct concierge *c);
/* The shape that a template for vm's start would have; without descriptors. Returns 0,
 * -ENOTSUP when this start cannot come from a template, or -errno. */
int template_shape_of(struct concierge_vm *vm, struct template_shape **ret_shape,
                      struct vmt_err *err);
/* Look for the template of a shape; a damaged one is removed. *ret_fd is the state, the
 * caller's to close, when there is one. */
enum template_found template_find(struct concierge *c, const struct template_shape *shape,
                                  int *ret_fd);
/* Keep fd, a state that was saved for shape, and make room for it. fd stays the caller's.
 * Returns 0, -EFBIG when it is larger than all room, or -errno; then nothing is kept. */
int template_keep(struct concierge *c, const struct template_shape *shape, int fd,
                  struct vmt_err *err);
/* Remember that it cannot be made, and why. */
void template_note_failure(struct concierge *c, const struct template_shape *shape,
                           const char *why);
void template_remove(struct concierge *c, const struct template_shape *shape);
/* Remove what is damaged, old or beyond the bounds; all when none are wanted. */
void templates_clean(struct concierge *c);

/* --- template_build.c: one throw-away VM at a time makes one --- */
int template_builder_new(struct concierge *c, struct template_builder **ret_builder,
                         struct vmt_err *err);
/* A VM under construction is killed at once. NULL is legal. */
void template_builder_free(struct template_builder *b);
VMT_DEFINE_FREEP(struct template_builder, template_builder_free)
/* Make a template of shape when there is time for it. Takes shape over. */
void template_builder_add(struct template_builder *b, struct template_shape *shape);
/* Does anything wait, or is under construction? */
bool template_builder_is_busy(const struct template_builder *b);
/* Drop all; nothing more is built. */
void template_builder_stop(struct template_builder *b);
/* A VM began or ended to boot. */
void template_builder_poke(struct template_builder *b);

/* --- template_start.c: how a VM starts from one --- */
enum warm_state {
    WARM_COLD = 0,  /* it boots; a template may be made of shape afterwards */
    WARM_RESTORING, /* its state is being restored, or it is paused after that */
    WARM_RESUMED,   /* it runs, and has no identity yet */
};

/* Only while a VM starts. */
struct vm_warm {
    enum warm_state state;
    struct template_shape *shape; /* owned; NULL: nothing to build */
    char *title;                  /* owned: the name for the hypervisor */
    size_t plugged;               /* disks that it has */
    bool inherited;               /* of an earlier daemon: what is done is done */
    bool vsock_asked;             /* the machine was asked to take its vsock device */
};
void vm_warm_free(struct vm_warm *warm);

/* Look for a template before the hypervisor is started. Returns a descriptor of its
 * state, the caller's, or -1: boot. */
int vm_warm_prepare(struct concierge_vm *vm);
/* Change the spec of a boot into that of a restore. */
void vm_warm_apply(struct concierge_vm *vm, int restore_fd, struct vm_spec *spec);
/* A start from a template has not been of use so far: boot instead. Posts FALL_BACK. */
void vm_warm_fall_back(struct concierge_vm *vm, const char *why);
/* The control channel of a restored VM answers. */
void vm_warm_on_control(struct concierge_vm *vm);
/* Is it being restored, and has no identity yet? Then it can still boot instead. */
bool vm_warm_is_restoring(const struct concierge_vm *vm);
/* Has its machine no vsock device yet, because it is being restored? */
bool vm_warm_has_no_vsock(const struct concierge_vm *vm);
/* It has its identity: what was kept for a boot is not needed any more. */
void vm_warm_done(struct concierge_vm *vm);
/* Until when a restored guest has to report ready, from its last sign of progress. */
#define WARM_IDLE_MS 30000u
/* It runs: have a template made if that is worth it. */
void vm_warm_on_running(struct concierge_vm *vm);
/* vm was started in that mode by an earlier daemon, perhaps only in part. Returns 0 or
 * -ENOMEM. */
int vm_warm_inherit(struct concierge_vm *vm, const char *start_mode);
