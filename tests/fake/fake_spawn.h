/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_spawn.h - processes that exist on paper. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/adapter/spawn.h"

struct vmt_clock;

/* Runs inside start, after the checks: note what is asked, or arm a later exit. Returns
 * 0, or the -errno that start shall give. */
typedef int fake_spawn_start_fn(void *arg, const struct spawn_spec *spec, int32_t pid);

/* Pids count from 1000. A process ends by fake_spawn_exit, or by SIGKILL, at once; other
 * signals are only remembered. Returns NULL without memory. */
struct spawn *fake_spawn_new(struct vmt_clock *clock);
/* Processes that are left are forgotten. */
void fake_spawn_free(struct spawn *spawn);

/* on_start may be NULL. */
void fake_spawn_on_start(struct spawn *spawn, fake_spawn_start_fn *on_start, void *arg);

/* End a process: on_exit runs on the next turn of the clock. Returns 0 or -ESRCH. */
int fake_spawn_exit(struct spawn *spawn, int32_t pid, enum spawn_exit_kind kind,
                    int code);

/* A process that an earlier life started, to be adopted. Fills *ret_id. 0 or -ENOMEM. */
int fake_spawn_plant(struct spawn *spawn, struct spawn_id *ret_id);

/* Processes that run, watched or not. */
size_t fake_spawn_running(const struct spawn *spawn);

/* The last signal sent to pid, 0 for none, -ESRCH when it does not run. */
int fake_spawn_last_signal(const struct spawn *spawn, int32_t pid);
