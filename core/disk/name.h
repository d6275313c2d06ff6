/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/name.h - the files of an owner's disk images.
 * Source: platform2 vm_tools/concierge/disk_image.cc: base64url of the name with padding
 * (RFC 4648, 5), then an extension for what it is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/base/limits.h"

enum disk_kind {
    DISK_KIND_RAW = 0, /* ".img" */
    DISK_KIND_QCOW2,   /* ".qcow2" */
    DISK_KIND_PFLASH,  /* ".pflash": variables of the firmware, no disk */
    DISK_KIND_COUNT
};

/* Room for the file name of any VM, with its NUL. */
#define DISK_FILE_MAX ((VMT_VM_NAME_MAX + 2) / 3 * 4 + 8)

/* The file of the VM that has this name, which has 1 to VMT_VM_NAME_MAX bytes. file has
 * room for DISK_FILE_MAX bytes. Returns file. */
const char *disk_file_name(const char *name, enum disk_kind kind, char *file);

/* The name and kind that a file stands for; name has room for VMT_VM_NAME_MAX + 1 bytes.
 * Padding may be missing. False for a file that is none of ours: another extension, no
 * base64url, a name that is empty, too long, or holds a NUL. */
bool disk_file_parse(const char *file, char *name, enum disk_kind *ret_kind);
