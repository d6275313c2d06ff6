/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/memory.c - how the host's memory is.
 * Sources: proc_meminfo(5); Documentation/accounting/psi.rst and
 * admin-guide/cgroup-v2.rst of Linux 6.1 (memory.max, memory.current, memory.stat). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/host/host_internal.h"

#define TEXT_MAX 8192

/* The begin of a small file, NUL-terminated; "" when it cannot be read. Without malloc:
 * this runs every second. */
static void
read_text(const char *path, char text[TEXT_MAX])
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);

    text[n < 0 ? 0 : n] = '\0';
}

/* The number after a word at the begin of a line; 0 when there is none. */
static uint64_t
number_after(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, len) == 0)
            return strtoull(line + len, NULL, 10);
        if (*line == '\0')
            break;
    }
    return 0;
}

/* "some avg10=1.23 avg60=...": 123. Two decimals are what the kernel prints. */
static uint32_t
stall_after(const char *text, const char *word)
{
    const char *line = strstr(text, word);
    unsigned whole, part;

    if (!line || sscanf(line + strlen(word), " avg10=%3u.%2u", &whole, &part) != 2)
        return 0;
    return whole * 100 + part;
}

static void
memory_now(struct host *host, struct host_memory *ret_memory)
{
    char text[TEXT_MAX];

    (void)host;
    read_text("/proc/meminfo", text);
    ret_memory->total = number_after(text, "MemTotal:") << 10;
    ret_memory->available = number_after(text, "MemAvailable:") << 10;
    read_text("/proc/pressure/memory", text);
    ret_memory->some_stalled = stall_after(text, "some");
    ret_memory->all_stalled = stall_after(text, "full");
}

const struct host_memory_ops linux_host_memory = {
    .now = memory_now,
};
