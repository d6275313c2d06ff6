/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/victims.h - all other processes, told to end and watched
 * until they do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct os_loop;
struct proc_table;
struct victims;

/* Which processes a round is about. */
enum victims_kind {
    VICTIMS_OTHERS,     /* all but the log daemon, which shall see the others end */
    VICTIMS_LOGGER,     /* the log daemon */
    VICTIMS_CONTAINERS, /* who runs the containers, and shuts them down first */
    VICTIMS_ALL,
};

struct victims_spec {
    struct os_loop *loop;           /* borrowed */
    const struct proc_table *procs; /* borrowed for the call: who is the log daemon */
    enum victims_kind kind;
    int sig;
    void (*on_gone)(void *arg);
    void *arg; /* borrowed */
};

/* Send sig to every process of that kind and watch each by its pidfd. The log daemon and
 * who runs containers are those that we started: a name is anybody's. A process in
 * another PID namespace belongs to a container, whose init is told by whoever runs it: it
 * is only watched, unless sig is SIGKILL. Processes of a terminal get SIGHUP as well: an
 * interactive shell ignores SIGTERM. on_gone runs once, from the loop, when all have
 * ended, also when there was none. Returns 0 or -ENOMEM. */
int victims_start(const struct victims_spec *spec, struct victims **ret_victims);

/* Stop watching; on_gone does not run any more. NULL is legal. */
void victims_free(struct victims *victims);
