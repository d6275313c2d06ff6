/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/log.h"

uint64_t
report_now_us(void)
{
    struct timespec ts = {0};

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void
report_phase(struct report *report, const char *name)
{
    if (report->nphases < REPORT_PHASES_MAX)
        report->phases[report->nphases++] =
            (struct report_phase){.name = name, .at_us = report_now_us()};
}

void
report_degraded(struct report *report, const char *fmt, ...)
{
    char raw[REPORT_TEXT_MAX], text[REPORT_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    (void)vmt_log_escape(text, sizeof(text), raw, strlen(raw));
    if (report->ndegraded < REPORT_DEGRADED_MAX)
        memcpy(report->degraded[report->ndegraded], text, sizeof(text));
    report->ndegraded++;
    vmt_log_error("degraded: %s", text);
}

const char *
report_format(const struct report *report, char *buf, size_t cap)
{
    size_t at = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < report->nphases && at < cap; i++) {
        const struct report_phase *p = &report->phases[i];
        uint64_t us = p->at_us - (i ? report->phases[i - 1].at_us : 0);
        int n = snprintf(buf + at, cap - at, "%s %s%llu.%llu", p->name, i ? "+" : "",
                         (unsigned long long)(us / 1000),
                         (unsigned long long)(us / 100 % 10));

        at += n > 0 ? (size_t)n : 0;
        if (at < cap)
            at += (size_t)snprintf(buf + at, cap - at, "%s",
                                   i + 1 < report->nphases ? " " : " ms");
    }
    return buf;
}
