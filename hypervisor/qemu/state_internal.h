/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/state_internal.h - a save or a restore under way; a vm has one at most.
 */
#pragma once

#include <stdbool.h>

struct hypervisor_vm;
struct qemu_state;
struct vm_spec;
struct vmt_err;

/* Can spec be restored from its restore_fd? Returns 0, -EINVAL with a sentence, -errno.
 */
int qemu_state_check(const struct vm_spec *spec, struct vmt_err *err);

/* The vm that starts will be restored from fd (borrowed): make vm->state, which
 * qemu_state_restore sets going. */
int qemu_state_prepare(struct hypervisor_vm *vm, int fd, struct vmt_err *err);

/* The control channel answers: load the state. on_control follows, or the end of the
 * process with words. */
void qemu_state_restore(struct hypervisor_vm *vm);

/* The control channel is gone. */
void qemu_state_lost(struct hypervisor_vm *vm);

/* Without any callback. */
void qemu_state_drop(struct hypervisor_vm *vm);
