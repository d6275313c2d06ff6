/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/qcow2.h - whether a qcow2 file may be opened. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

#define DISK_QCOW2_HEADER 104u /* bytes of the longest header that is looked at */

bool disk_is_qcow2(const uint8_t *data, size_t len);

/* data are the first len bytes of a qcow2 file, at least DISK_QCOW2_HEADER unless the
 * file has fewer. Returns 0 and the size of the disk in it; -EBADMSG for a file that
 * names another one (a backing or data file), is encrypted, or is none of version 2 or
 * 3. Source: QEMU 7.2, docs/interop/qcow2.txt. */
int disk_qcow2_check(const uint8_t *data, size_t len, uint64_t *ret_size,
                     struct vmt_err *err);
