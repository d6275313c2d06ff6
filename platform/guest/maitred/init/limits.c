/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/report.h"

#define NOFILE_MAX 1048576
#define HOSTNAME_FILE_MAX 4096

/* Source: platform2 vm_tools/maitred/init.cc, tables of rlimits and sysctls. */
static const struct {
    const char *path, *value;
} knobs[] = {
    {"/proc/sys/fs/inotify/max_queued_events", "1048576"},
    {"/proc/sys/fs/inotify/max_user_instances", "1048576"},
    {"/proc/sys/fs/inotify/max_user_watches", "1048576"},
    {"/proc/sys/vm/max_map_count", "262144"},
    {"/proc/sys/net/core/rmem_max", "2097152"},
};

void
limits_apply(struct report *report)
{
    const struct rlimit nofile = {NOFILE_MAX, NOFILE_MAX};
    const struct rlimit memlock = {RLIM_INFINITY, RLIM_INFINITY};

    if (setrlimit(RLIMIT_NOFILE, &nofile) < 0)
        report_degraded(report, "raise the limit on files: %s", strerror(errno));
    if (setrlimit(RLIMIT_MEMLOCK, &memlock) < 0)
        report_degraded(report, "raise the limit on locked memory: %s", strerror(errno));
}

void
limits_sysctl(struct report *report)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(knobs); i++) {
        int r = file_write(knobs[i].path, knobs[i].value);

        if (r < 0 && r != -ENOENT)
            report_degraded(report, "set %s: %s", knobs[i].path, strerror(-r));
    }
}

void
limits_hostname(struct report *report)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char *line, *save = NULL;

    if (file_read("/etc/hostname", HOSTNAME_FILE_MAX, &text) < 0)
        return;
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        size_t n;

        line += strspn(line, " \t\r");
        n = strcspn(line, " \t\r");
        if (*line == '#' || n == 0)
            continue;
        if (sethostname(line, n) < 0)
            report_degraded(report, "set host name: %s", strerror(errno));
        return;
    }
}
