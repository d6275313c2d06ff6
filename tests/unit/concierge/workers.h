/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/concierge/workers.h - the disk workers (vm_disk) of a world: they do at the
 * next turn what they were started for, unless told otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/spawn.h"

struct world;

#define WORKERS_MAX 256

struct worker {
    int32_t pid;
    char log[128];   /* of its progress, below FAKE_DISKS_PROGRESS */
    char args[1024]; /* joined by blanks, without the program */
    bool over;
    bool copies; /* a disk to a snapshot, or back; it has no log */
};

struct workers {
    struct worker v[WORKERS_MAX];
    size_t n;
    bool hang;          /* they work for ever, but obey SIGTERM */
    bool ignore_term;   /* and not even that */
    int start_error;    /* errno of the next start, 0 */
    const char *result; /* the line of those that end from now on; NULL: "result ok" */
};

/* Take a start down, as a fake_spawn_start_fn does. */
int workers_on_spawn(struct world *w, const struct spawn_spec *spec, int32_t pid);
/* Those that are done end. */
void workers_work(struct world *w);

/* The last one that was started. */
struct worker *workers_last(struct world *w);
/* Something that a worker writes. */
void worker_say(struct world *w, struct worker *worker, const char *line);
/* Without a word. */
void worker_kill(struct world *w, struct worker *worker, int sig);
