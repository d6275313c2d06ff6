/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/qcow2_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

#define OFFSET_VERSION 4
#define OFFSET_BACKING_FILE 8
#define OFFSET_INCOMPATIBLE 72 /* from version 3 on */
#define INCOMPATIBLE_DATA_FILE 4

static uint64_t
read_be(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;

    while (bytes--)
        value = value << 8 | *at++;
    return value;
}

int
qcow2_header_check(const uint8_t *header, size_t len, struct vmt_err *err)
{
    static const uint8_t magic[] = {'Q', 'F', 'I', 0xfb};

    if (len < QCOW2_HEADER_SIZE || memcmp(header, magic, sizeof(magic)) != 0)
        return vmt_err_setx(err, EINVAL, "this is no qcow2 image");
    if (read_be(header + OFFSET_BACKING_FILE, 8) != 0)
        return vmt_err_setx(err, EINVAL,
                            "the image has a backing file, which would be opened without "
                            "a check: make it whole with qemu-img convert -O qcow2");
    if (read_be(header + OFFSET_VERSION, 4) >= 3 &&
        read_be(header + OFFSET_INCOMPATIBLE, 8) & INCOMPATIBLE_DATA_FILE)
        return vmt_err_setx(err, EINVAL,
                            "the image keeps its data in another file, which would be "
                            "opened without a check: make it whole with qemu-img convert "
                            "-O qcow2");
    return 0;
}

int
qcow2_check(int fd, const char *path, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int own = -1;
    uint8_t header[QCOW2_HEADER_SIZE];
    ssize_t n;

    if (path) {
        own = open(path, O_RDONLY | O_CLOEXEC);
        if (own < 0)
            return vmt_err_set(err, errno, "open %s", path);
        fd = own;
    }
    n = pread(fd, header, sizeof(header), 0);
    if (n < 0)
        return vmt_err_set(err, errno, "read the header");
    return qcow2_header_check(header, (size_t)n, err);
}
