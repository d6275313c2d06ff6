/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/sandbox.h - what somebody who took over a process could do. */
#pragma once

struct vmt_err;

enum sandbox_role {
    /* Only the system calls of the event loop, unix sockets and memory exist: no files,
     * no processes, no other sockets, no executable memory. */
    SANDBOX_WORKER,
    /* Files and programs as well, since it starts workers; but no sockets of other
     * families, no tracing, no namespaces or mounts, none of the kernel's large
     * interfaces. A worker inherits that, and adds its own. */
    SANDBOX_KEEPER,
};

/* From now on. What is not in the list fails with ENOSYS, as on a kernel without it.
 * Needs PR_SET_NO_NEW_PRIVS.
 *
 * Returns 0; -ENOTSUP where the kernel has no filters or the machine is not one whose
 * calls are known here, or with sanitizers, which need what is forbidden. */
int sandbox_enter(enum sandbox_role role, struct vmt_err *err);
