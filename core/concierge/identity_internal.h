/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/identity_internal.h - tell a guest whose state was restored who it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct concierge_vm;

#define IDENTITY_HOSTNAME_MAX 64 /* RFC 1123, 2.1: a label, and a NUL */

/* The host name of a VM of this name: letters, digits and hyphens; "" when nothing of it
 * is left. Returns buf. */
const char *identity_hostname(const char *vm_name, char buf[IDENTITY_HOSTNAME_MAX]);

/* Does this start begin with it? */
bool vm_identity_wanted(const struct concierge_vm *vm);
/* Send it over the open connection to the agent. Goes on with vm_setup_steps, or ends the
 * start, or makes it a boot. */
void vm_identity_send(struct concierge_vm *vm);
