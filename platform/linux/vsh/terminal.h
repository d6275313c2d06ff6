/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/terminal.h - raw mode of the user's terminal, and the way back. */
#pragma once

#include <stdint.h>

struct vmt_err;

/* Make the terminal fd raw and remember how it was. There is one terminal per process. It
 * is restored by terminal_restore, at exit, and before the process dies of a crash. */
int terminal_raw(int fd, struct vmt_err *err);
/* Put it back as it was; nothing happens when it is not raw. Async-signal-safe. */
void terminal_restore(void);

/* Size in characters, 0 and 0 if fd is no terminal. */
void terminal_size(int fd, int32_t *ret_rows, int32_t *ret_cols);
