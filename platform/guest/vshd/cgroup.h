/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/cgroup.h - one group of cgroup v2 per session, beside vshd's own
 * processes. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define SESSION_CGROUP_MAX 512

/* Make the group of session id below ours. Returns 0 with its place below
 * /sys/fs/cgroup in ret_path, SESSION_CGROUP_MAX bytes; -errno where there is no cgroup
 * v2 or we may not make groups, and ret_path is "". */
int session_cgroup_make(uint32_t id, char *ret_path);
/* fork(2) with the child in the group from its birth, or moved there where the kernel
 * does not know of that; "" is legal, and failures leave it in ours. Returns as fork. */
pid_t session_cgroup_fork(const char *path);
/* The session is over. What it left running keeps the group; later calls look again. */
void session_cgroup_remove(const char *path);
