/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/file.h - small files of /proc and /sys, whose size is not
 * known before they are read. */
#pragma once

#include <stddef.h>

/* Read at most max bytes and put a NUL behind them; *ret is malloc'ed. A pipe in the
 * place of a file is empty, whoever has its other end. Returns the number of bytes,
 * -EFBIG, -errno. */
long file_read(const char *path, size_t max, char **ret);

/* Write text to an existing file in one write. Returns 0 or -errno. */
int file_write(const char *path, const char *text);
