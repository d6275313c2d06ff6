/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/cgroup.h - control groups, version 2. */
#pragma once

#define CGROUP_ROOT "/sys/fs/cgroup"
/* The group of everything that we start. We stay in the root, where containers and
 * services make their own groups beside this one. */
#define CGROUP_GUEST CGROUP_ROOT "/guest"

struct report;

/* Make CGROUP_GUEST. Returns its directory, close-on-exec, or -1: there is none, and
 * that is in the report. */
int cgroup_open_guest(struct report *report);

/* Hand every controller of the root down to the groups that containers and services
 * will make. */
void cgroup_enable(struct report *report);
