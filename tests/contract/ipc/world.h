/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/world.h - the processes that a test of the suite talks to. */
#pragma once

#include <sys/types.h>

#include "tests/contract/ipc/client.h"

struct world {
    const struct client_ops *ops;
    char dir[64];      /* temporary, removed at the end */
    char address[104]; /* socket path or address of the bus */
    pid_t bus, daemon; /* 0: none */
    uid_t daemon_uid;  /* of a system daemon; 0: it serves who runs the test */
    uid_t service_uid; /* of another daemon of the set, for that one */
};

/* backend is "unix" or "dbus", daemon the path of the echo daemon. */
void world_start(struct world *w, const char *backend, const char *daemon);
/* The same with a system daemon under a uid of its own; as root only. */
void world_start_system(struct world *w, const char *backend, const char *daemon);
/* How many lines with that text the daemon has logged. */
int world_logged(const struct world *w, const char *text);
/* Start one more daemon at the same place. Returns its exit code if it ends before it is
 * ready, or 0 and *ret_pid. */
int world_start_daemon(struct world *w, const char *daemon, pid_t *ret_pid);
/* End the bus without notice; start one at the same place. */
void world_stop_bus(struct world *w);
void world_start_bus(struct world *w);
/* Wait for a child; its exit code, or 128 and the signal. */
int world_wait(pid_t pid);
void world_stop(struct world *w);
