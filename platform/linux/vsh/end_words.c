/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/end_words.h"

#include <stdio.h>
#include <string.h>

#include "vmt_life.pb-c.h"

#include "core/base/log.h"

#define TEXT_MAX 256

static const char *
escape(char *buf, size_t cap, const char *text)
{
    return vmt_log_escape(buf, cap, text, strlen(text));
}

/* " with its program server: status 3", or nothing. Returns buf. */
static const char *
application_words(const Vmt__ApplicationEnd *a, char *buf, size_t cap)
{
    char program[128];

    *buf = '\0';
    if (a)
        (void)snprintf(buf, cap, " with its program %s: %s %d",
                       escape(program, sizeof(program), a->program),
                       a->signal ? "signal" : "status",
                       a->signal ? (int)a->signal : (int)a->exit_code);
    return buf;
}

const char *
vm_end_words(const Vmt__VmEnd *end, char *buf, size_t cap)
{
    char cause[32], text[TEXT_MAX], how[32] = "", again[64] = "", program[192];

    if (end->signal)
        (void)snprintf(how, sizeof(how), " (signal %d)", end->signal);
    else if (end->exit_code)
        (void)snprintf(how, sizeof(how), " (exit code %d)", end->exit_code);
    if (end->will_restart)
        (void)snprintf(again, sizeof(again), "; it is started again in %u s",
                       (end->restart_in_ms + 999) / 1000);
    (void)snprintf(buf, cap, "%s after %llu s%s%s%s%s%s",
                   escape(cause, sizeof(cause), end->cause),
                   (unsigned long long)(end->uptime_ms / 1000), how,
                   application_words(end->application, program, sizeof(program)),
                   *end->text ? ": " : "", escape(text, sizeof(text), end->text), again);
    return buf;
}
