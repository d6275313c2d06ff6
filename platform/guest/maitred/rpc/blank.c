/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/blank.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

/* btrfs has its first trees from 1 MiB on, small ones of new file systems below 64 MiB,
 * and the next copy of its superblock right there; ext4 and xfs begin at the front. */
#define HEAD_BYTES ((64L * 1024 + 64) * 1024)
#define TAIL_BYTES (1L * 1024 * 1024) /* the second partition table, RAID */
#define STEP_BYTES 65536
#define SAMPLES 64 /* of STEP_BYTES each, in between */

static bool
all_zero(const uint8_t *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* 1 if all bytes from at to end are zero. */
static int
is_zero(int fd, off_t at, off_t end)
{
    uint8_t bytes[STEP_BYTES];

    while (at < end) {
        size_t want = end - at < STEP_BYTES ? (size_t)(end - at) : STEP_BYTES;
        ssize_t n = pread(fd, bytes, want, at);

        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        if (!all_zero(bytes, (size_t)n))
            return 0;
        at += n;
    }
    return 1;
}

int
blank_check(const char *device, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(device, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END), head, tail;
    int r;

    if (size < 0)
        return vmt_err_set(err, errno, "open %s", device);
    head = size < HEAD_BYTES ? size : HEAD_BYTES;
    tail = size - head < TAIL_BYTES ? size - head : TAIL_BYTES;
    r = is_zero(fd, 0, head);
    for (off_t i = 1; r > 0 && i < SAMPLES; i++) {
        off_t at = head + (size - head - tail) / SAMPLES * i;

        r = is_zero(fd, at, size - at < STEP_BYTES ? size : at + STEP_BYTES);
    }
    if (r > 0)
        r = is_zero(fd, size - tail, size);
    return r < 0 ? vmt_err_set(err, -r, "read %s", device) : r;
}
