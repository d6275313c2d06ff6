/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/bus_none.c - built without D-Bus. */
#include <errno.h>

#include "core/base/err.h"
#include "platform/linux/vsh/bus.h"

int
vsh_bus_vm(const char *vm_name, const char *owner, struct concierge_vm *ret_vm,
           struct vmt_err *err)
{
    (void)vm_name;
    (void)owner;
    (void)ret_vm;
    return vmt_err_setx(err, ENOTSUP, "this vsh was built without D-Bus");
}
