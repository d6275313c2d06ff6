/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/process.h - struct spawn over vfork-like clone and pidfd. */
#pragma once

#include "core/adapter/spawn.h"

struct os_loop;
struct vmt_err;

/* Children are watched by pidfd and reaped from the loop. */
int os_spawn_new(struct os_loop *loop, struct spawn **ret_spawn, struct vmt_err *err);
void os_spawn_free(struct spawn *spawn); /* children run on */

/* Start time of a running process, clock ticks since boot. Returns 0 or -ESRCH. */
int os_process_start_time(int32_t pid, uint64_t *ret_ticks);
