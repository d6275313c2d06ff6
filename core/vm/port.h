/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/port.h - which port of the host the file server of the next VM listens on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* From 16384 on all ports belong to file servers (spec/concierge.md 3); up to 65535, so
 * that a TCP port can take the place of a vsock port. */
#define VM_PORT_FIRST 16384u
#define VM_PORT_LAST 65535u

/* Has a VM got port? */
typedef bool vm_port_in_use_fn(void *arg, uint32_t port);

/* Take the first free port from *next on, wrapping, and move *next behind it: a port
 * comes back as late as possible. The caller keeps *next across restarts; a value out of
 * range counts as VM_PORT_FIRST. Returns 0 and the port, or -ENOSPC when every one is
 * taken; then *next is untouched. */
int vm_port_alloc(uint32_t *next, vm_port_in_use_fn *in_use, void *arg,
                  uint32_t *ret_port);
