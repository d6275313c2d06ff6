/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/sysctl.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/report.h"
#include "platform/linux/os/dir.h"

#define FILE_BYTES_MAX 65536
#define FILES_MAX 256
/* The kernel takes 128 bytes with the NUL. Source: Linux v6.1, fs/coredump.c. */
#define CORE_PATTERN_MAX 128
/* How many collectors run at a time. Source: platform2, crash_reporter --init. */
#define CORE_PIPE_LIMIT "4"

static const char *const dirs[] = {"/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d"};

static char *
trim(char *text)
{
    char *end;

    text += strspn(text, " \t\r");
    end = text + strlen(text);
    while (end > text && strchr(" \t\r", end[-1]))
        end--;
    *end = '\0';
    return text;
}

/* The separator that stands first parts; the other one is an ordinary letter. */
static bool
name_to_path(const char *name, char path[PATH_MAX])
{
    bool dots = name[strcspn(name, "./")] == '.';
    int n = snprintf(path, PATH_MAX, "/proc/sys/%s", name);

    if (n >= PATH_MAX || strstr(name, ".."))
        return false;
    for (char *at = path + strlen("/proc/sys/"); dots && *at; at++)
        *at = (char)(*at == '.' ? '/' : *at == '/' ? '.' : *at);
    return !strstr(path, ".."); /* "//" among dots becomes one */
}

bool
sysctl_parse(char *line, struct sysctl_line *ret)
{
    char *name, *equals;

    line = trim(line);
    if (*line == '\0' || *line == '#' || *line == ';')
        return false;
    ret->may_fail = *line == '-';
    line += ret->may_fail;
    equals = strchr(line, '=');
    if (!equals)
        return false;
    *equals = '\0';
    name = trim(line);
    ret->value = trim(equals + 1);
    return *name && !strpbrk(name, "*?[ \t") && name_to_path(name, ret->path);
}

static void
apply_file(const char *path, struct report *report)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char *line, *save = NULL;
    struct sysctl_line knob;

    if (file_read(path, FILE_BYTES_MAX, &text) < 0)
        return;
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int r = sysctl_parse(line, &knob) ? file_write(knob.path, knob.value) : 0;

        if (r < 0 && r != -ENOENT && !knob.may_fail)
            report_degraded(report, "set %s, as %s says: %s", knob.path, path,
                            strerror(-r));
    }
}

static bool
is_conf(const char *name)
{
    size_t len = strlen(name);

    return len > 5 && name[0] != '.' && strcmp(name + len - 5, ".conf") == 0;
}

static bool
is_listed(const struct vmt_argv *paths, const char *name)
{
    for (size_t i = 0; i < paths->n; i++)
        if (strcmp(strrchr(paths->v[i], '/') + 1, name) == 0)
            return true;
    return false;
}

static void
list_dir(const char *dir, struct vmt_argv *paths)
{
    VMT_CLEANUP(os_closedirp) DIR *d = opendir(dir);
    struct dirent *entry;

    while (d && (entry = readdir(d)) && paths->n < FILES_MAX)
        if (is_conf(entry->d_name) && !is_listed(paths, entry->d_name))
            vmt_argv_addf(paths, "%s/%s", dir, entry->d_name);
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(strrchr(*(char *const *)a, '/'), strrchr(*(char *const *)b, '/'));
}

void
sysctl_apply(struct report *report)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv paths = {0};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(dirs); i++)
        list_dir(dirs[i], &paths);
    if (vmt_argv_finish(&paths, NULL) < 0 || paths.n == 0)
        return;
    qsort(paths.v, paths.n, sizeof(paths.v[0]), compare_names);
    for (size_t i = 0; i < paths.n; i++)
        apply_file(paths.v[i], report);
}

void
sysctl_core_pattern(const char *collector, struct report *report)
{
    char pattern[CORE_PATTERN_MAX];
    int r;

    if (access(collector, X_OK) < 0)
        return;
    if (snprintf(pattern, sizeof(pattern), "|%s --user=%%P:%%s:%%u:%%g:%%f", collector) >=
        (int)sizeof(pattern)) {
        report_degraded(report, "crash collector: its path is too long for the kernel");
        return;
    }
    r = file_write("/proc/sys/kernel/core_pipe_limit", CORE_PIPE_LIMIT);
    if (r == 0)
        r = file_write("/proc/sys/kernel/core_pattern", pattern);
    if (r < 0)
        report_degraded(report, "crash collector: %s", strerror(-r));
}
