/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/format.h - the kinds of disk images. */
#pragma once

enum disk_format { DISK_RAW, DISK_QCOW2 };

/* "raw" or "qcow2": also what QEMU calls them. */
const char *disk_format_name(enum disk_format format);
/* Returns 0 or -EINVAL. */
int disk_format_parse(const char *text, enum disk_format *ret_format);
/* By its ending, ".qcow2" or any other, as the original names images. */
enum disk_format disk_format_of_name(const char *name);
