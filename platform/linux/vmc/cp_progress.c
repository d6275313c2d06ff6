/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/cp_progress.c - how far a copy is, for people. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/copy/stream.h"
#include "platform/linux/copy/copy.h"
#include "platform/linux/vmc/cp.h"

#define REDRAW_MS 100u
#define BAR_CELLS 20u
#define COLS_DEFAULT 80u
#define NUMBERS_COLS 58u /* what the line is without the name */

static void
format_bytes(char *out, size_t cap, double bytes, const char *after)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t i = 0;

    for (; bytes >= 1000 && i < VMT_ARRAY_SIZE(units) - 1; i++)
        bytes /= 1024;
    (void)snprintf(out, cap, i ? "%.1f %s%s" : "%.0f %s%s", bytes, units[i], after);
}

/* The time that is left, as far as the rate so far tells. */
static void
format_left(char *out, size_t cap, const struct cp_progress *p)
{
    unsigned long long s;
    double left;

    if (p->total == COPY_SIZE_UNKNOWN || p->bytes == 0 || p->bytes > p->total) {
        (void)snprintf(out, cap, "-:--");
        return;
    }
    left =
        (double)(p->total - p->bytes) / (double)p->bytes * (double)p->elapsed_ms / 1000;
    /* Compared before it becomes an integer: the other side says what the total is. */
    s = left < 360000 ? (unsigned long long)left : 0;
    if (left >= 360000)
        (void)snprintf(out, cap, "-:--");
    else if (s >= 3600)
        (void)snprintf(out, cap, "%llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(out, cap, "%llu:%02llu", s / 60, s % 60);
}

static void
format_bar(char *out, size_t cap, const struct cp_progress *p)
{
    char cells[BAR_CELLS + 1];
    unsigned percent;

    if (p->total == COPY_SIZE_UNKNOWN || p->total == 0) {
        *out = '\0';
        return;
    }
    percent = p->bytes >= p->total
                  ? 100
                  : (unsigned)((double)p->bytes * 100 / (double)p->total);
    for (unsigned i = 0; i < BAR_CELLS; i++)
        cells[i] = i < percent * BAR_CELLS / 100 ? '#' : ' ';
    cells[BAR_CELLS] = '\0';
    (void)snprintf(out, cap, "[%s] %3u%%  ", cells, percent);
}

void
cp_progress_line(const struct cp_progress *p, char out[CP_LINE_MAX])
{
    char bar[BAR_CELLS + 16], done[32], rate[32], left[32];
    int cols = p->cols > NUMBERS_COLS + 8 ? (int)(p->cols - NUMBERS_COLS - 1) : 8;

    cols = cols > 200 ? 200 : cols;
    format_bar(bar, sizeof(bar), p);
    format_bytes(done, sizeof(done), (double)p->bytes, "");
    format_bytes(rate, sizeof(rate),
                 (double)p->bytes * 1000 / (double)(p->elapsed_ms ? p->elapsed_ms : 1),
                 "/s");
    format_left(left, sizeof(left), p);
    (void)snprintf(out, CP_LINE_MAX, "%-*.*s %s%s  %s  %s", cols, cols, p->name, bar,
                   done, rate, left);
}

static uint64_t
now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void
cp_progress_draw(void *arg, const struct copy_totals *totals, const char *path)
{
    struct cp_progress_view *view = arg;
    const char *slash = strrchr(path, '/');
    struct winsize size = {0};
    char name[256], line[CP_LINE_MAX];
    uint64_t now = now_ms();
    struct cp_progress p = {.bytes = totals->bytes,
                            .total = totals->total,
                            .name = name,
                            .cols = COLS_DEFAULT};

    if (!view->begin_ms)
        view->begin_ms = view->drawn_ms = now;
    if (now - view->drawn_ms < REDRAW_MS)
        return;
    view->drawn_ms = now;
    p.elapsed_ms = now - view->begin_ms;
    path = slash ? slash + 1 : path;
    (void)vmt_log_escape(name, sizeof(name), path, strlen(path));
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        p.cols = size.ws_col;
    cp_progress_line(&p, line);
    (void)fprintf(stderr, "\r\033[K%s", line);
    view->drawn = true;
}

void
cp_progress_clear(struct cp_progress_view *view)
{
    if (view->drawn)
        (void)fputs("\r\033[K", stderr);
    view->drawn = false;
}
