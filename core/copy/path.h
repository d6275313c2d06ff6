/* SPDX-License-Identifier: BSD-3-Clause */
/* core/copy/path.h - names in a copy: what may come from the other side, and which side a
 * word of the command line is on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define COPY_PATH_MAX 4095u /* bytes of a path inside a copy */

/* Is this a path that stays below the folder that it is relative to: no slash at either
 * end, no empty part, none that is "." or "..", none longer than 255 bytes, none that
 * begins as our temporary files do? */
bool copy_path_ok(const char *path);

/* Does the path begin with this part, as a whole? */
bool copy_path_below(const char *path, const char *first);

/* The last part of a path of the command line, slashes at its end left out, malloc'ed.
 * Returns 0, -EINVAL when it is empty, the root, "." or "..": such a copy would have no
 * name; or -ENOMEM. */
int copy_path_name(const char *path, char **ret_name);

/* The colon in "VM:PATH", NULL for a path of this side: one without a colon, or with a
 * slash before it. */
const char *copy_path_colon(const char *word);

/* How names of unfinished files begin. */
#define COPY_TEMPORARY ".vm_copy."
