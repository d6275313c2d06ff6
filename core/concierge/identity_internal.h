/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/identity_internal.h - tell a guest whose state was restored who it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmt_agent.pb-c.h"

struct concierge_vm;
struct vmt_err;

#define IDENTITY_HOSTNAME_MAX 64 /* RFC 1123, 2.1: a label, and a NUL */
#define IDENTITY_ENTROPY_BYTES 64
#define IDENTITY_MACHINE_ID_BYTES 16

/* The host name of a VM of this name: letters, digits and hyphens; "" when nothing of it
 * is left. Returns buf. */
const char *identity_hostname(const char *vm_name, char buf[IDENTITY_HOSTNAME_MAX]);

/* What no two guests share: random bytes, a machine-id and a host name. */
struct identity_names {
    uint8_t entropy[IDENTITY_ENTROPY_BYTES];
    char machine_id[2 * IDENTITY_MACHINE_ID_BYTES + 1];
    char hostname[IDENTITY_HOSTNAME_MAX];
    Vmt__SetIdentityRequest request; /* points to the above */
};
/* Make new ones for this run of vm. Returns 0 or -errno. */
int identity_names_make(const struct concierge_vm *vm, struct identity_names *names,
                        struct vmt_err *err);

/* Does this start begin with it? */
bool vm_identity_wanted(const struct concierge_vm *vm);
/* Send it over the open connection to the agent. Goes on with vm_setup_steps, or ends the
 * start, or makes it a boot. */
void vm_identity_send(struct concierge_vm *vm);
