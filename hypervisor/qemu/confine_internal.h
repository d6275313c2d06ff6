/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/confine_internal.h - the files that QEMU may open. */
#pragma once

struct vm_spec;
struct vmt_err;

/* Make a ruleset of Landlock for QEMU with this vm, for spawn_spec.confine_fd: *ret_fd is
 * the caller's. binary is as in qemu_config. Returns 0; -EOPNOTSUPP, without words, where
 * the kernel has no Landlock; or -errno. */
int qemu_confine(const char *binary, const struct vm_spec *spec, int *ret_fd,
                 struct vmt_err *err);
