/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/worker.h - the process that does everything with the guest's
 * bytes: it maps the guest's memory, serves the queues, and holds the connections. */
#pragma once

#include "platform/linux/vm_vsock/options.h"

struct vmt_err;

/* Serve until the keeper or, after it, the VMM is gone, or a signal says so. opt names
 * the inherited descriptors. Returns the exit code. */
int worker_main(const struct options *opt);

/* The process may not gain privileges, and nobody of the same user may look into it. */
int process_harden(struct vmt_err *err);
