/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/format.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"

static const char *const names[] = {[DISK_RAW] = "raw", [DISK_QCOW2] = "qcow2"};

const char *
disk_format_name(enum disk_format format)
{
    return names[format];
}

int
disk_format_parse(const char *text, enum disk_format *ret_format)
{
    for (unsigned i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_format = (enum disk_format)i;
            return 0;
        }
    }
    return -EINVAL;
}

enum disk_format
disk_format_of_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && strcmp(dot, ".qcow2") == 0 ? DISK_QCOW2 : DISK_RAW;
}
