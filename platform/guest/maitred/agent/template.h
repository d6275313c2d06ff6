/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/template.h - a guest that was booted to be saved, and to
 * be restored as many others. */
#pragma once

struct agent;

/* The words that the host waits for on the console: save us now. */
#define TEMPLATE_WORDS "vm_tools-template-ready"

/* All is booted that no identity is needed for. Give memory back to the host, so that
 * little is saved, then say TEMPLATE_WORDS. With a vsock device VmReady follows, now or
 * when one comes, and SetIdentity starts the programs. */
void template_settle(struct agent *agent);
