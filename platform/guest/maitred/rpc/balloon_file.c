/* SPDX-License-Identifier: BSD-3-Clause */
/* The storage balloon of file systems without a knob for it: a file whose space is taken,
 * but never written, so that the host has nothing to keep. It is removed when the machine
 * goes down, and when the file system is mounted for containers. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/guest/maitred/rpc/balloon.h"

uint64_t
balloon_file_bytes(uint64_t held, uint64_t available, int64_t host_free, bool empty)
{
    uint64_t wanted =
        host_free > BALLOON_HOST_KEEPS ? (uint64_t)(host_free - BALLOON_HOST_KEEPS) : 0;

    if (empty || held + available <= wanted + BALLOON_FILE_SPARES)
        return 0;
    held += available - wanted - BALLOON_FILE_SPARES;
    return held - held % BALLOON_FILE_STEP;
}

/* Without room for all of it the file keeps what it has. btrfs counts what is taken and
 * freed only when it has written its trees. */
static int
set_size(int fd, uint64_t held, uint64_t bytes)
{
    int r = 0;

    if (bytes < held)
        r = ftruncate(fd, (off_t)bytes);
    else if (bytes > held)
        r = fallocate(fd, 0, (off_t)held, (off_t)(bytes - held));
    if (r == 0 && bytes != held)
        r = syncfs(fd);
    return r < 0 ? -errno : 0;
}

int
balloon_file_update(const char *path, int64_t host_free, bool empty)
{
    VMT_CLEANUP(vmt_closep)
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | (empty ? 0 : O_CREAT), 0600);
    struct statfs fs;
    struct stat st;
    uint64_t bytes;
    int r;

    if (fd < 0)
        return empty && errno == ENOENT ? 0 : -errno;
    if (syncfs(fd) < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    bytes = balloon_file_bytes((uint64_t)st.st_size,
                               (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize, host_free,
                               empty);
    r = set_size(fd, (uint64_t)st.st_size, bytes);
    if (r == 0 && bytes == 0 && unlink(path) < 0)
        r = -errno;
    return r;
}
