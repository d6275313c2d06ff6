/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG_LINE_MAX 1024 /* longer lines are cut: a log is not a data channel */

static struct {
    const char *program;   /* borrowed */
    vmt_log_sink_fn *sink; /* NULL: stderr */
    void *arg;             /* borrowed */
    enum vmt_log_level max;
} log_state = {.program = "vm_tools", .max = VMT_LOG_INFO};

void
vmt_log_init(const char *program, vmt_log_sink_fn *sink, void *arg)
{
    if (program)
        log_state.program = program;
    log_state.sink = sink;
    log_state.arg = arg;
}

void
vmt_log_set_level(enum vmt_log_level max)
{
    log_state.max = max;
}

void
vmt_log(enum vmt_log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    va_list ap;

    if (level > log_state.max)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (log_state.sink)
        log_state.sink(log_state.arg, level, line);
    else
        (void)fprintf(stderr, "%s: %s\n", log_state.program, line);
}

const char *
vmt_log_escape(char *buf, size_t cap, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t room = cap - 4; /* "..." and the NUL always fit */
    size_t at = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        size_t need = c == '\\' ? 2 : c >= 0x20 && c < 0x7f ? 1 : 4;

        if (at + need > room) {
            memcpy(buf + at, "...", 3);
            at += 3;
            break;
        }
        if (need == 1) {
            buf[at++] = (char)c;
            continue;
        }
        buf[at++] = '\\';
        if (need == 2) {
            buf[at++] = '\\';
            continue;
        }
        buf[at++] = 'x';
        buf[at++] = hex[c >> 4];
        buf[at++] = hex[c & 15];
    }
    buf[at] = '\0';
    return buf;
}
