/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/bus.h - a VM of the vm_concierge on the system bus. */
#pragma once

struct concierge_vm;
struct vmt_err;

/* Ask over D-Bus as the original's vsh does, and wait; owner NULL: that of our uid.
 * Returns 0, -ENOENT when there is no vm_concierge on the bus, -ECONNREFUSED or -ENOTSUP
 * when there is no bus, -EACCES, -ETIMEDOUT, -EINVAL for a transport that we do not know,
 * -EIO. */
int vsh_bus_vm(const char *vm_name, const char *owner, struct concierge_vm *ret_vm,
               struct vmt_err *err);
