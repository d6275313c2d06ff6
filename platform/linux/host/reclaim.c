/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/reclaim.c - push the RAM of a guest out of the host's.
 * Sources: process_madvise(2), madvise(2) MADV_PAGEOUT; memory.reclaim in
 * Documentation/admin-guide/cgroup-v2.rst of Linux 6.1. Both need swap on the host: the
 * RAM of a guest is shared memory without a file. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/process.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21 /* asm-generic/mman-common.h, Linux 5.4 */
#endif

/* At once; between two pieces the deadline of the caller can end us. */
#define PIECE (UINT64_C(64) << 20)

static uint64_t
reclaim_resident(struct host *host, int32_t pid)
{
    const struct linux_host *self = VMT_CONTAINER_OF(host, struct linux_host, base);
    char path[64], text[LINUX_HOST_TEXT_MAX];

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    linux_host_read_text(self, path, text);
    return linux_host_number_after(text, "VmRSS:") << 10;
}

static int
by_group(const struct linux_host *self, const struct host_reclaim *what)
{
    char path[PATH_MAX], text[32];
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (!what->group || !self->cgroups.tree)
        return -ENOTSUP;
    if ((size_t)snprintf(path, sizeof(path), "%s%s/%s/memory.reclaim", self->sys_root,
                         self->cgroups.tree, what->group) >= sizeof(path))
        return -ENAMETOOLONG;
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -ENOTSUP; /* Linux 5.19, with the memory controller */
    (void)snprintf(text, sizeof(text), "%" PRIu64, what->bytes);
    /* EAGAIN: less than that could be reclaimed, which what is left tells better. */
    return write(fd, text, strlen(text)) < 0 && errno != EAGAIN ? -errno : 0;
}

/* Advise about one mapping, at most *left bytes of it. */
static int
advise(int pidfd, uint64_t from, uint64_t to, uint64_t *left)
{
    while (from<to && * left> 0) {
        uint64_t n = to - from < PIECE ? to - from : PIECE;
        struct iovec at = {.iov_base = (void *)(uintptr_t)from};

        at.iov_len = n < *left ? n : *left;
        if (syscall(SYS_process_madvise, pidfd, &at, 1ul, MADV_PAGEOUT, 0u) < 0)
            return -errno;
        from += at.iov_len;
        *left -= at.iov_len;
    }
    return 0;
}

/* The RAM of a guest is in shared mappings of a memfd, whatever the hypervisor. */
static int
by_advice(const struct host_reclaim *what)
{
    VMT_CLEANUP(vmt_closep) int pidfd = (int)syscall(SYS_pidfd_open, what->id.pid, 0u);
    VMT_CLEANUP(vmt_fclosep) FILE *maps = NULL;
    uint64_t start_time = 0, left = what->bytes, from, to;
    char path[64], line[512];
    int r = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)what->id.pid);
    maps = fopen(path, "re");
    if (pidfd < 0 || !maps || os_process_start_time(what->id.pid, &start_time) < 0 ||
        start_time != what->id.start_time)
        return -ESRCH;
    while (r == 0 && left > 0 && fgets(line, sizeof(line), maps))
        if (strstr(line, "rw-s") && strstr(line, "memfd:") &&
            sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2)
            r = advise(pidfd, from, to, &left);
    return r;
}

static int
reclaim_run(struct host *host, const struct host_reclaim *what)
{
    int r = by_group(VMT_CONTAINER_OF(host, struct linux_host, base), what);

    return r == 0 ? 0 : by_advice(what);
}

const struct host_reclaim_ops linux_host_reclaim = {
    .resident = reclaim_resident,
    .run = reclaim_run,
};
