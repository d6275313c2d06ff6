/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/progress.h - what the disk worker (vm_disk) says while it works: lines
 * "progress DONE TOTAL", and at the end "result ok KEY=VALUE..." or "result CODE text".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/disk/op.h"

#define DISK_RESULT_TEXT_MAX 256

/* What the lines so far amount to. */
struct disk_progress {
    unsigned percent; /* 0 .. 99; 0 too when the worker knows no total */
    bool done;        /* a result line came */
    enum disk_result result;
    char text[DISK_RESULT_TEXT_MAX]; /* printable; "" if none */
};

/* Look at the end of what a worker wrote. The last progress line and the last result line
 * count; a line without its newline does not, nor one of another shape. Writes all of
 * *ret. */
void disk_progress_parse(const char *data, size_t len, struct disk_progress *ret);
