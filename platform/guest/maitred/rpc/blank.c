/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/blank.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

#define HEAD_BYTES (2L * 1024 * 1024)
#define TAIL_BYTES (1L * 1024 * 1024)
#define STEP_BYTES 65536

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
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i])
                return 0;
        }
        at += n;
    }
    return 1;
}

int
blank_check(const char *device, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(device, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    int r;

    if (size < 0)
        return vmt_err_set(err, errno, "open %s", device);
    r = is_zero(fd, 0, size < HEAD_BYTES ? size : HEAD_BYTES);
    if (r > 0)
        r = is_zero(fd, size < TAIL_BYTES ? 0 : size - TAIL_BYTES, size);
    return r < 0 ? vmt_err_set(err, -r, "read %s", device) : r;
}
