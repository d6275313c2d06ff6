/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/qemu_img.c. The formats are always said, and the driver options
 * forbid a backing file even if the header changes after it was looked at. The locks are
 * ours already. */
#include "platform/linux/vm_disk/qemu_img.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/qcow2.h"
#include "platform/linux/vm_disk/tool.h"

/* As the program has the descriptors. */
#define FIRST "/proc/self/fd/3"
#define SECOND "/proc/self/fd/4"
#define JSON_FILE                                                                        \
    "\"file\":{\"driver\":\"file\",\"locking\":\"off\",\"filename\":\"" FIRST "\"}}"
static const char raw_image[] = "json:{\"driver\":\"raw\"," JSON_FILE;
static const char qcow2_image[] =
    "json:{\"driver\":\"qcow2\",\"backing\":null," JSON_FILE;

int
qemu_img_check(int fd, uint64_t *ret_size, struct vmt_err *err)
{
    uint8_t header[DISK_QCOW2_HEADER];
    ssize_t n = pread(fd, header, sizeof(header), 0);

    if (n < 0)
        return vmt_err_set(err, errno, "read the header of the image");
    return disk_qcow2_check(header, (size_t)n, ret_size, err);
}

int
qemu_img_create(int fd, uint64_t size, bool filter, struct vmt_err *err)
{
    char text[32];
    const char *const argv[] = {"qemu-img", "create", "-q", "-f",
                                "qcow2",    FIRST,    text, NULL};
    const struct tool tool = {.argv = argv, .fds = &fd, .nfds = 1, .filter = filter};

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)size);
    return tool_run(&tool, err);
}

int
qemu_img_convert(int from_fd, enum disk_format from, int to_fd, enum disk_format to,
                 bool filter, struct vmt_err *err)
{
    const char *const argv[] = {"qemu-img",
                                "convert",
                                "-q",
                                "-T",
                                "none",
                                "-O",
                                disk_format_name(to),
                                from == DISK_RAW ? raw_image : qcow2_image,
                                SECOND,
                                NULL};
    const int fds[] = {from_fd, to_fd};
    const struct tool tool = {.argv = argv, .fds = fds, .nfds = 2, .filter = filter};
    uint64_t size = 0;
    int r = from == DISK_RAW ? 0 : qemu_img_check(from_fd, &size, err);

    return r < 0 ? r : tool_run(&tool, err);
}

int
qemu_img_resize(int fd, uint64_t size, bool filter, struct vmt_err *err)
{
    char text[32];
    const char *const argv[] = {"qemu-img", "resize", "-q", qcow2_image, text, NULL};
    const struct tool tool = {.argv = argv, .fds = &fd, .nfds = 1, .filter = filter};
    uint64_t now = 0;
    int r = qemu_img_check(fd, &now, err);

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)size);
    return r < 0 ? r : tool_run(&tool, err);
}
