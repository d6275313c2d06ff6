/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/progress.h"

#include <string.h>

#include "platform/linux/vmc/vmc.h"
#include "vmt_snapshot.pb-c.h"

#define BAR_WIDTH 40
/* Longer than what a snapshot is told in, so that a shorter line covers it. */
#define LINE_WIDTH 76
#define MIB 1048576.0

const char *
progress_bar(char buf[PROGRESS_LINE_MAX], const char *what, unsigned percent)
{
    unsigned shown = percent > 100 ? 100 : percent;
    unsigned full = shown * BAR_WIDTH / 100;
    char bar[BAR_WIDTH + 1];

    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', full);
    bar[BAR_WIDTH] = '\0';
    (void)snprintf(buf, PROGRESS_LINE_MAX, "%s [%s] %3u %%", what, bar, shown);
    return buf;
}

/* Bytes are told of copies of disks; of the memory only how much it is. */
static const char *
line_of(const struct snapshot_progress *progress, const Vmt__SnapshotProgress *p,
        char buf[PROGRESS_LINE_MAX])
{
    char step[24], what[64];

    (void)vmc_escape(step, sizeof(step), p->step);
    (void)snprintf(what, sizeof(what), "snapshot %s: %s", progress->verb, step);
    if (p->done_bytes && p->done_bytes <= p->total_bytes)
        return progress_bar(
            buf, what,
            (unsigned)((double)p->done_bytes * 100.0 / (double)p->total_bytes));
    if (p->total_bytes)
        (void)snprintf(buf, PROGRESS_LINE_MAX, "%s %.1f MiB", what,
                       (double)p->total_bytes / MIB);
    else
        (void)snprintf(buf, PROGRESS_LINE_MAX, "%s", what);
    return buf;
}

void
snapshot_progress_on_signal(void *arg, const char *name, const uint8_t *bytes, size_t len)
{
    struct snapshot_progress *progress = arg;
    char line[PROGRESS_LINE_MAX];
    Vmt__SnapshotProgress *p;

    if (strcmp(name, "SnapshotProgress") != 0)
        return;
    p = vmt__snapshot_progress__unpack(NULL, len, bytes);
    if (p && strcmp(p->owner_id, progress->owner) == 0 &&
        strcmp(p->vm_name, progress->vm) == 0 &&
        strcmp(p->snapshot_name, progress->snapshot) == 0) {
        (void)fprintf(progress->out, "\r%-*s", LINE_WIDTH, line_of(progress, p, line));
        (void)fflush(progress->out);
        progress->drawn = true;
    }
    if (p)
        vmt__snapshot_progress__free_unpacked(p, NULL);
}

void
snapshot_progress_end(struct snapshot_progress *progress)
{
    if (progress->drawn)
        (void)fputc('\n', progress->out);
    progress->drawn = false;
}
