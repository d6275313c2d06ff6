/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/ready.h - tell the host that we are ready, until it says
 * that it heard. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ready;
struct transport;
struct vmt_clock;
struct vmt_err;

struct ready_config {
    struct vmt_clock *clock; /* borrowed, as transport and arg, until on_acked */
    struct transport *transport;
    uint32_t host_port;
    /* A host heard us before: one that waits for no VM any more knows us. */
    bool again;
    void (*on_acked)(void *arg); /* runs once, from the loop */
    void *arg;
};

/* Call StartupListener/VmReady at the host's port, each try with a deadline of 5 s, again
 * after 0.1, 0.2, ... 2 s, and after two minutes every 30 s: a host
 * that restarts its daemon hears us as well. Returns 0 or -ENOMEM. */
int ready_start(const struct ready_config *config, struct ready **ret_ready);
void ready_free(struct ready *ready);
