/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/progress.h - a line on the terminal that says how far something is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROGRESS_LINE_MAX 160

/* "what [####....]  42 %"; more than 100 percent are 100. Returns buf. */
const char *progress_bar(char buf[PROGRESS_LINE_MAX], const char *what, unsigned percent);

/* What a SnapshotProgress is shown for; strings are borrowed. */
struct snapshot_progress {
    FILE *out;        /* borrowed: a terminal */
    const char *verb; /* "create" or "restore" */
    const char *owner, *vm, *snapshot;
    bool drawn; /* the cursor stands behind a line */
};

/* A signal of the daemon, serialized; arg is a struct snapshot_progress. One that is of
 * another snapshot, or no SnapshotProgress, is left alone. */
void snapshot_progress_on_signal(void *arg, const char *name, const uint8_t *bytes,
                                 size_t len);
/* Begin a new line where one was drawn. */
void snapshot_progress_end(struct snapshot_progress *progress);
