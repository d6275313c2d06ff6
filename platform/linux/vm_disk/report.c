/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/monotonic.h"

#define INTERVAL_MS 100
/* The file costs more than a line, and is for those who come later. */
#define FILE_INTERVAL_MS 1000
#define LINE_MAX_BYTES 1024
#define CANCELLED "result cancelled by a signal\n"

/* One operation, one process: a signal handler must reach it. */
static struct {
    int fd;
    char path[PATH_MAX], next[PATH_MAX]; /* of the result file, "" without one */
    uint64_t done, told_ms, filed_ms;
    bool told;
} report = {.fd = -1};

void
report_init(int fd, const char *result_file)
{
    report.fd = fd;
    report.path[0] = '\0';
    if (!result_file)
        return;
    if (snprintf(report.next, sizeof(report.next), "%s.new", result_file) < PATH_MAX)
        (void)snprintf(report.path, sizeof(report.path), "%s", result_file);
}

/* Only calls that a signal handler may use. */
static int
report_file(const char *line, size_t len, bool sync)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (!report.path[0])
        return 0;
    fd = open(report.next, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (write(fd, line, len) != (ssize_t)len || (sync && fsync(fd) < 0))
        return -EIO;
    return rename(report.next, report.path) < 0 ? -errno : 0;
}

/* One write, so that lines of a pipe stay whole. When the reader is gone, nothing is
 * lost: the work counts. */
static void
report_line(const char *line, size_t len)
{
    if (report.fd >= 0 && write(report.fd, line, len) < 0 && errno != EAGAIN)
        report.fd = -1;
}

/* A reader that stopped must not stop the work: it misses what does not fit. */
static bool
report_fits(void)
{
    struct pollfd poller = {.fd = report.fd, .events = POLLOUT};

    return report.fd >= 0 && poll(&poller, 1, 0) > 0;
}

void
report_progress(uint64_t done, uint64_t total)
{
    const uint64_t now = os_monotonic_ms();
    char line[64];
    size_t len;

    if ((report.told && now - report.told_ms < INTERVAL_MS) || done < report.done)
        return;
    report.told = true;
    report.told_ms = now;
    report.done = done;
    len = (size_t)snprintf(line, sizeof(line), "progress %llu %llu\n",
                           (unsigned long long)done, (unsigned long long)total);
    if (now - report.filed_ms >= FILE_INTERVAL_MS) {
        report.filed_ms = now;
        if (report_file(line, len, false) < 0)
            vmt_log_debug("cannot write the result file");
    }
    if (report_fits())
        report_line(line, len);
}

const char *
report_code(int r)
{
    static const struct {
        int error;
        const char *word;
    } words[] = {
        {ENOSPC, "nospace"}, {EDQUOT, "nospace"}, {EBADMSG, "badimage"},
        {EEXIST, "exists"},  {EBUSY, "busy"},     {ENOENT, "missing"},
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(words); i++) {
        if (words[i].error == -r)
            return words[i].word;
    }
    return "failed";
}

static int
report_ok(char line[LINE_MAX_BYTES], const struct outcome *outcome)
{
    int n = snprintf(line, LINE_MAX_BYTES, "result ok size=%llu allocated=%llu format=%s",
                     (unsigned long long)outcome->size,
                     (unsigned long long)outcome->allocated,
                     disk_format_name(outcome->format));

    if (outcome->vm_type >= 0)
        n += snprintf(line + n, LINE_MAX_BYTES - n, " vm_type=%d", outcome->vm_type);
    if (outcome->sha256[0])
        n += snprintf(line + n, LINE_MAX_BYTES - n, " sha256=%s", outcome->sha256);
    return n + snprintf(line + n, LINE_MAX_BYTES - n, "\n");
}

void
report_result(int r, const struct vmt_err *err, const struct outcome *outcome)
{
    char line[LINE_MAX_BYTES], text[VMT_ERR_MSG_MAX];
    int n;

    if (r == 0) {
        n = report_ok(line, outcome);
    } else {
        (void)vmt_log_escape(text, sizeof(text), vmt_err_text(err),
                             strlen(vmt_err_text(err)));
        n = snprintf(line, sizeof(line), "result %s %s\n", report_code(r), text);
    }
    if (report_file(line, (size_t)n, true) < 0)
        vmt_log_warning("cannot write the result file");
    report_line(line, (size_t)n);
}

void
report_cancelled(void)
{
    (void)report_file(CANCELLED, sizeof(CANCELLED) - 1, true);
    report_line(CANCELLED, sizeof(CANCELLED) - 1);
}
