/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/port.h"

#include <errno.h>

static uint32_t
in_range(uint32_t port)
{
    return port < VM_PORT_FIRST || port > VM_PORT_LAST ? VM_PORT_FIRST : port;
}

int
vm_port_alloc(uint32_t *next, vm_port_in_use_fn *in_use, void *arg, uint32_t *ret_port)
{
    uint32_t first = in_range(*next), port = first;

    do {
        if (!in_use(arg, port)) {
            *next = in_range(port + 1);
            *ret_port = port;
            return 0;
        }
        port = in_range(port + 1);
    } while (port != first);
    return -ENOSPC;
}
