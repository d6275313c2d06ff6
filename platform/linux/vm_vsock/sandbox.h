/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/sandbox.h - what a guest that took over the process could do.
 */
#pragma once

#include <stdbool.h>

struct vmt_err;

/* From now on only the system calls of the event loop, unix sockets and memory exist: no
 * files, no processes, no other sockets, no executable memory. What is not in the list
 * fails with ENOSYS, as on a kernel without it. remove_sockets: paths may still be
 * unlinked. Needs PR_SET_NO_NEW_PRIVS.
 *
 * Returns 0; -ENOTSUP where the kernel has no filters or the machine is not one whose
 * calls are known here, or with sanitizers, which need what is forbidden. */
int sandbox_enter(bool remove_sockets, struct vmt_err *err);
