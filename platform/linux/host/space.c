/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/space.c - how much space the file systems of disk images have. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/host/host_internal.h"

static int
space_place(struct host *host, int fd, const char *path, char **ret_place)
{
    char link[64], target[PATH_MAX];
    const char *slash;
    ssize_t n = 0;

    (void)host;
    if (path) {
        n = (ssize_t)strnlen(path, sizeof(target) - 1);
        memcpy(target, path, (size_t)n);
    } else {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, target, sizeof(target) - 1);
    }
    if (n < 0)
        return -errno;
    target[n] = '\0';
    slash = strrchr(target, '/');
    if (target[0] != '/' || !slash)
        return -ENOENT;
    *ret_place = strndup(target, slash == target ? 1 : (size_t)(slash - target));
    return *ret_place ? 0 : -ENOMEM;
}

static int
space_free_bytes(struct host *host, const char *place, uint64_t *ret_bytes)
{
    struct statvfs space;

    (void)host;
    if (statvfs(place, &space) < 0)
        return -errno;
    *ret_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    return 0;
}

static int
space_number_new(struct host *host, uint64_t **ret_number)
{
    void *page = mmap(NULL, sizeof(**ret_number), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)host;
    if (page == MAP_FAILED)
        return -ENOMEM;
    *ret_number = page;
    return 0;
}

static void
space_number_free(struct host *host, uint64_t *number)
{
    (void)host;
    if (number)
        (void)munmap(number, sizeof(*number));
}

const struct host_space_ops linux_host_space = {
    .place = space_place,
    .free_bytes = space_free_bytes,
    .number_new = space_number_new,
    .number_free = space_number_free,
};
