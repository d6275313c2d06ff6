/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/report.h - what happened during boot: when each phase ended
 * and what did not work. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define REPORT_PHASES_MAX 24
#define REPORT_DEGRADED_MAX 32 /* later ones are counted, not kept */
#define REPORT_TEXT_MAX 200

struct report_phase {
    const char *name; /* borrowed, a literal */
    uint64_t at_us;   /* CLOCK_BOOTTIME at its end: since the kernel started */
};

/* All zeroes is an empty report. */
struct report {
    struct report_phase phases[REPORT_PHASES_MAX];
    size_t nphases;
    char degraded[REPORT_DEGRADED_MAX][REPORT_TEXT_MAX];
    size_t ndegraded; /* may exceed REPORT_DEGRADED_MAX */
};

/* Microseconds since the kernel started. */
uint64_t report_now_us(void);

/* The phase name ends now. */
void report_phase(struct report *report, const char *name);

/* Something is missing but life goes on: keep it for the report and log it as an error.
 * Names of files may be any bytes, the report is text: see vmt_log_escape. */
void report_degraded(struct report *report, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "exec 812.3 modules +41.0 root +12.1 ready +20.5 ms" into buf, cut to cap bytes with
 * the NUL: the first phase since the kernel started, each other since the one before.
 * Returns buf. */
const char *report_format(const struct report *report, char *buf, size_t cap);
