/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/cgroup.h - control groups, version 2. */
#pragma once

struct report;

/* Hand every controller of the root down to the groups that containers and services
 * will make. */
void cgroup_enable(struct report *report);
