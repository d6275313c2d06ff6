/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/mountinfo.h - what is mounted where. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/base/argv.h"

/* One line of /proc/self/mountinfo, cut in place; all strings point into it. */
struct mountinfo {
    const char *target, *type, *source;
};

/* Cut one line without its newline; octal escapes are undone. False for a line of another
 * shape. Source: proc(5), /proc/pid/mountinfo. */
bool mountinfo_parse(char *line, struct mountinfo *ret);

/* Undo \040 and the like in place. */
void mountinfo_unescape(char *text);

/* May target be unmounted before power-off? The root and the API file systems stay: the
 * last steps need them. */
bool mountinfo_is_removable(const char *target);
