/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/freezer.h - stop every program of the VM but ourselves, so
 * that nothing runs between a restore and the new identity.
 * Source: Linux, Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct freezer;
struct vmt_clock;
struct vmt_err;

/* How long the programs may take to stop, unless the caller says otherwise; the longest
 * that it may say. One in an uninterruptible call (a dead network file system) never
 * does. */
#define FREEZER_TIMEOUT_MS 5000u
#define FREEZER_TIMEOUT_MAX_MS 20000u

/* Runs from the loop, once: 0 and all are frozen, or -ETIMEDOUT and all run again. err is
 * borrowed, set on failure. */
typedef void freezer_done_fn(void *arg, int status, const struct vmt_err *err);

/* root is the mount point of cgroup v2, borrowed; the tests have one of plain files. */
int freezer_new(struct vmt_clock *clock, const char *root, struct freezer **ret_freezer);

/* What was frozen stays so. NULL is legal. */
void freezer_free(struct freezer *f);

/* Freeze every group right below the root that is not frozen already: those are somebody
 * else's. Programs that sit in the root itself are moved to the group home (a path)
 * first. Returns 0; -EALREADY when frozen or at it; -ENOMEM, -errno. */
int freezer_freeze(struct freezer *f, const char *home, unsigned timeout_ms,
                   freezer_done_fn *on_done, void *arg, struct vmt_err *err);

/* Let what freezer_freeze stopped run again; a freeze that still waits ends with
 * -ECANCELED. Nothing to thaw is fine. */
void freezer_thaw(struct freezer *f);

/* From the call of freezer_freeze to the thaw or the failure. */
bool freezer_is_on(const struct freezer *f);

/* How many groups are held. */
size_t freezer_count(const struct freezer *f);
