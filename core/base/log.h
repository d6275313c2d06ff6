/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/log.h - one line per event, to a sink that the program chooses. */
#pragma once

#include <stddef.h>

/* Numbered like the severities of syslog, RFC 5424 table 2. */
enum vmt_log_level {
    VMT_LOG_ERROR = 3,
    VMT_LOG_WARNING = 4,
    VMT_LOG_NOTICE = 5,
    VMT_LOG_INFO = 6,
    VMT_LOG_DEBUG = 7,
};

/* Takes one finished line without a newline. Called from the thread that logs. */
typedef void vmt_log_sink_fn(void *arg, enum vmt_log_level level, const char *line);

/* Choose the sink; NULL restores the default, "<program>: <line>" on stderr. arg is
 * borrowed until the next call. program is borrowed for the life of the process. */
void vmt_log_init(const char *program, vmt_log_sink_fn *sink, void *arg);

/* Lines above max (a larger number) are dropped. The default is VMT_LOG_INFO. */
void vmt_log_set_level(enum vmt_log_level max);

void vmt_log(enum vmt_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define vmt_log_error(...) vmt_log(VMT_LOG_ERROR, __VA_ARGS__)
#define vmt_log_warning(...) vmt_log(VMT_LOG_WARNING, __VA_ARGS__)
#define vmt_log_notice(...) vmt_log(VMT_LOG_NOTICE, __VA_ARGS__)
#define vmt_log_info(...) vmt_log(VMT_LOG_INFO, __VA_ARGS__)
#define vmt_log_debug(...) vmt_log(VMT_LOG_DEBUG, __VA_ARGS__)

/* Make text from a guest or client fit for a log line or a terminal: printable ASCII
 * stays, everything else becomes \xNN, backslash becomes \\. Writes at most cap bytes
 * including the NUL, ends in "..." when text was cut, and returns buf. cap is at least 4.
 */
const char *vmt_log_escape(char *buf, size_t cap, const char *text, size_t len);
