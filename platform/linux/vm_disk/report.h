/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/report.h - what the one who started us is told. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/disk/format.h"

struct vmt_err;

/* What a finished operation says about its image. */
struct outcome {
    uint64_t size;      /* bytes that the guest sees */
    uint64_t allocated; /* bytes on the disk */
    enum disk_format format;
    int vm_type;     /* or -1: unknown */
    char sha256[65]; /* "" where there is none */
};

/* Where the lines go: descriptor or -1, path or NULL, borrowed for the life of the
 * process. The file has a line before the descriptor: who reads it finds it there too. */
void report_init(int fd, const char *result_file);

/* At most ten times a second, and never less than before; else it says nothing. */
void report_progress(uint64_t done, uint64_t total);

/* The last line. r is 0 or the code of err; outcome is used for 0. */
void report_result(int r, const struct vmt_err *err, const struct outcome *outcome);

/* The last line after a signal to end; async-signal-safe. */
void report_cancelled(void);

/* The word for a failure: nospace, badimage, exists, busy, missing or failed. */
const char *report_code(int r);
