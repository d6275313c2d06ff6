/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/world.h - the processes that a test of the suite talks to. */
#pragma once

#include <sys/types.h>

#include "tests/contract/ipc/client.h"

struct world {
    const struct client_ops *ops;
    char dir[64];      /* temporary, removed at the end */
    char address[128]; /* socket path or address of the bus */
    pid_t bus, daemon; /* 0: none */
};

/* backend is "unix" or "dbus", daemon the path of the echo daemon. */
void world_start(struct world *w, const char *backend, const char *daemon);
/* Start one more daemon at the same place. Returns its exit code if it ends before it is
 * ready, or 0 and *ret_pid. */
int world_start_daemon(struct world *w, const char *daemon, pid_t *ret_pid);
/* Wait for a child; its exit code, or 128 and the signal. */
int world_wait(pid_t pid);
void world_stop(struct world *w);
