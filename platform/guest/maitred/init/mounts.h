/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/mounts.h - the API and memory file systems of a running
 * system. */
#pragma once

struct report;
struct vmt_err;

/* /proc, /sys and /dev: before everything else, in the initramfs or in the root. What the
 * kernel mounted already stays. */
void mounts_first(struct report *report);

/* /run, in the final root. Nothing here and below is fatal. */
void mounts_system(struct report *report);

/* What programs find: /dev/pts, /dev/shm, /tmp, cgroup and so on, directories in /run and
 * the links in /dev. Before the first program is started. */
void mounts_programs(struct report *report);

/* What nothing needs at once: tracefs, securityfs, mqueue. */
void mounts_late(struct report *report);

/* mkdir -p, each part with mode; what exists is fine. Returns 0 or -errno. */
int mounts_mkdir_p(const char *path, unsigned mode, struct vmt_err *err);
