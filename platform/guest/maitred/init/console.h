/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/console.h - the kernel log, the console, and last words. */
#pragma once

#include <stdint.h>

#include "platform/guest/maitred/init/cmdline.h"

/* Everything that vmt_log takes goes to /dev/kmsg, as "maitred: text" with its level; to
 * the console while there is no /dev/kmsg. Call again once /dev is mounted. */
void console_log_to_kmsg(void);

/* In a forked child whose descriptors were closed: open the kernel log again. */
void console_log_reopen(void);

/* Write one line to /dev/console, never blocking: a reader that hangs must not hang us.
 * What does not fit is lost. */
void console_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Wait until the console sent its bytes. */
void console_drain(void);

/* SIGSEGV, SIGABRT and the like caused by ourselves: last words on the console and to the
 * host, a core of a copy of us for the crash collector, sync, reboot - as PID 1 anything
 * else would be a kernel panic. Each of these steps has a time limit. The same signals
 * sent by others are logged and ignored. */
void console_catch_fatal(void);

/* How the machine goes down then, and which port of the host hears of it; before, it is
 * reset, and the host hears nothing. */
void console_set_fatal(enum cmdline_poweroff how, uint32_t host_port);

/* 0 to 2 open: on the console if there is one, else on /dev/null. */
void console_open_stdio(void);
