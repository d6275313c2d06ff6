/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/template.h - a guest that was booted to be saved, and to
 * be restored as many others. */
#pragma once

#include <stdbool.h>

struct agent;

/* The words that the host waits for on the console: save us now. */
#define TEMPLATE_WORDS "vm_tools-template-ready"

/* All is booted that no identity is needed for, and our daemons run. Give memory back to
 * the host, so that little is saved, hold the daemons, then say TEMPLATE_WORDS. With a
 * vsock device VmReady follows, now or when one comes, and SetIdentity lets the daemons
 * go on and starts the programs. */
void template_settle(struct agent *agent);

/* Our daemons stand still, or go on. A copy that had to start them would be up later by a
 * third; one in which they ran would answer before it has its identity. */
void template_hold(struct agent *agent, bool held);
