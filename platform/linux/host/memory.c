/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/memory.c - how the host's memory is.
 * Sources: proc_meminfo(5); Documentation/accounting/psi.rst and
 * admin-guide/cgroup-v2.rst of Linux 6.1 (memory.max, memory.current, memory.stat). */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/host/host_internal.h"

void
linux_host_read_text(const struct linux_host *self, const char *path,
                     char text[LINUX_HOST_TEXT_MAX])
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char full[PATH_MAX];
    ssize_t n = -1;

    if ((size_t)snprintf(full, sizeof(full), "%s%s", self->sys_root, path) < sizeof(full))
        fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        n = read(fd, text, LINUX_HOST_TEXT_MAX - 1);
    text[n < 0 ? 0 : n] = '\0';
}

uint64_t
linux_host_number_after(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, len) == 0)
            return strtoull(line + len, NULL, 10);
    }
    return 0;
}

/* "some avg10=1.23 avg60=...": 123. The kernel prints two decimals. */
static uint32_t
stall_after(const char *text, const char *word)
{
    const char *line = strstr(text, word);
    unsigned whole, part;

    if (!line || sscanf(line + strlen(word), " avg10=%3u.%2u", &whole, &part) != 2)
        return 0;
    return whole * 100 + part;
}

/* What a group could still take: caches count as free, as they do for the host. */
static void
limit_by_group(void *arg, const struct linux_host *self, const char *group)
{
    struct host_memory *memory = arg;
    char path[PATH_MAX + 32], text[LINUX_HOST_TEXT_MAX];
    uint64_t max, used, caches;

    (void)snprintf(path, sizeof(path), "%s/memory.max", group);
    linux_host_read_text(self, path, text);
    if (*text < '0' || *text > '9') /* "max", or no memory controller */
        return;
    max = strtoull(text, NULL, 10);
    (void)snprintf(path, sizeof(path), "%s/memory.current", group);
    linux_host_read_text(self, path, text);
    used = strtoull(text, NULL, 10);
    (void)snprintf(path, sizeof(path), "%s/memory.stat", group);
    linux_host_read_text(self, path, text);
    caches = linux_host_number_after(text, "inactive_file ") +
             linux_host_number_after(text, "active_file ");
    used -= caches < used ? caches : used;
    if (max < memory->total)
        memory->total = max;
    if ((used < max ? max - used : 0) < memory->available)
        memory->available = used < max ? max - used : 0;
}

void
linux_host_memory_limit(const struct linux_host *self, struct host_memory *memory)
{
    linux_host_cgroups_up(self, limit_by_group, memory);
}

static void
memory_now(struct host *host, struct host_memory *ret_memory)
{
    const struct linux_host *self = VMT_CONTAINER_OF(host, struct linux_host, base);
    char text[LINUX_HOST_TEXT_MAX];

    linux_host_read_text(self, "/proc/meminfo", text);
    ret_memory->total = linux_host_number_after(text, "MemTotal:") << 10;
    ret_memory->available = linux_host_number_after(text, "MemAvailable:") << 10;
    linux_host_read_text(self, "/proc/pressure/memory", text);
    ret_memory->some_stalled = stall_after(text, "some");
    ret_memory->all_stalled = stall_after(text, "full");
    linux_host_memory_limit(self, ret_memory);
}

const struct host_memory_ops linux_host_memory = {
    .now = memory_now,
};
