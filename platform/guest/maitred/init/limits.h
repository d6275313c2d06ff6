/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/limits.h - limits and knobs that a container host needs. */
#pragma once

struct report;

/* Resource limits, which every child inherits. */
void limits_apply(struct report *report);

/* Knobs below /proc/sys. One that the kernel does not have is skipped. */
void limits_sysctl(struct report *report);

/* The first line of /etc/hostname that is no comment. */
void limits_hostname(struct report *report);
