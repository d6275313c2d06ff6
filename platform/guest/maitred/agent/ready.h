/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/ready.h - tell the host that we are ready, until it says
 * that it heard. */
#pragma once

#include <stdint.h>

struct ready;
struct transport;
struct vmt_clock;
struct vmt_err;

/* Call StartupListener/VmReady at the host's port, each try with a deadline of 5 s, again
 * after 0.1, 0.2, ... 2 s: a host that restarts its daemon hears us as well. on_acked
 * runs once, from the loop; transport is borrowed until then. */
int ready_start(struct vmt_clock *clock, struct transport *transport, uint32_t host_port,
                void (*on_acked)(void *arg), void *arg, struct ready **ret_ready);
void ready_free(struct ready *ready);
