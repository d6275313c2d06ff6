/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/group.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

#define FILE_TEXT_MAX 1024

void
group_name(char name[GROUP_NAME_MAX], const char *prefix, const char *text)
{
    (void)snprintf(name, GROUP_NAME_MAX, "%s%s", prefix, text);
    for (char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_' &&
            (*at != '.' || at == name))
            *at = '_';
}

static int
write_at(int dir, const char *file, const char *text)
{
    VMT_CLEANUP(vmt_closep) int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int
group_open(int parent, const char *name, int *ret_fd, struct vmt_err *err)
{
    int fd;

    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
        return vmt_err_set(err, errno, "make control group %s", name);
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "open control group %s", name);
    *ret_fd = fd;
    return 0;
}

/* From the top down: a group can hand on only what it was given. */
void
group_enable(int parent)
{
    static const char *const files[] = {"../cgroup.subtree_control",
                                        "cgroup.subtree_control"};
    static const char *const words[] = {"+memory", "+pids", "+cpu"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(files); i++)
        for (size_t k = 0; k < VMT_ARRAY_SIZE(words); k++)
            (void)write_at(parent, files[i], words[k]);
}

int
group_limit(int parent, int fd, const struct group_limits *limits, struct vmt_err *err)
{
    const struct {
        const char *file;
        uint64_t value;
    } rows[] = {
        {"memory.max", limits->memory_max},      {"memory.high", limits->memory_high},
        {"pids.max", limits->pids_max},          {"cpu.weight", limits->cpu_weight},
        {"memory.oom.group", limits->oom_group},
    };
    int result = 0;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        char text[32];
        int r;

        if (rows[i].value == 0)
            continue;
        (void)snprintf(text, sizeof(text), "%" PRIu64, rows[i].value);
        r = write_at(fd, rows[i].file, text);
        if (r == -ENOENT) {
            group_enable(parent);
            r = write_at(fd, rows[i].file, text);
        }
        if (r < 0 && result == 0)
            result = vmt_err_set(err, -r, "set %s to %s", rows[i].file, text);
    }
    return result;
}

int
group_kill(int fd)
{
    return write_at(fd, "cgroup.kill", "1");
}

int
group_remove(int parent, const char *name)
{
    return unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

uint64_t
group_count(int fd, const char *file, const char *key)
{
    VMT_CLEANUP(vmt_closep) int in = openat(fd, file, O_RDONLY | O_CLOEXEC);
    char text[FILE_TEXT_MAX], *line, *save = NULL;
    ssize_t n = in < 0 ? -1 : read(in, text, sizeof(text) - 1);
    size_t len = strlen(key);
    uint64_t value = 0;

    if (n < 0)
        return 0;
    text[n] = '\0';
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (strncmp(line, key, len) == 0 && line[len] == ' ' &&
            vmt_parse_u64(line + len + 1, UINT64_MAX, &value) == 0)
            return value;
    return 0;
}
