/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "core/disk/superblock.h"
#include "platform/guest/maitred/proc/exec.h"

#define WAIT_STEP_MS 50

void
format_await_device(const char *device)
{
    const struct timespec pause = {.tv_nsec = WAIT_STEP_MS * 1000000};

    if (!vmt_str_has_prefix(device, "/dev/"))
        return;
    for (int ms = 0; ms < FORMAT_WAIT_MS && access(device, F_OK) < 0; ms += WAIT_STEP_MS)
        (void)nanosleep(&pause, NULL);
}

int
format_probe(const char *device, char type[FORMAT_TYPE_MAX], struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(device, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    VMT_CLEANUP(vmt_freep) uint8_t *head = malloc(DISK_PROBE_BYTES);
    struct disk_probe found;
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0)
        return vmt_err_set(err, errno, "open %s", device);
    if (!head)
        return vmt_err_set(err, ENOMEM, "read %s", device);
    while (len < DISK_PROBE_BYTES && n > 0) {
        n = pread(fd, head + len, DISK_PROBE_BYTES - len, (off_t)len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0)
        return vmt_err_set(err, errno, "read %s", device);
    disk_probe(head, len, &found);
    (void)snprintf(type, FORMAT_TYPE_MAX, "%s", found.name ? found.name : "");
    return 0;
}

int
format_make(const char *type, const char *device, struct vmt_err *err)
{
    char program[FORMAT_TYPE_MAX + 8];
    char *const argv[] = {program, (char *)(uintptr_t)device, NULL};
    const struct exec_spec spec = {.argv = argv, .cgroup = -1, .dies_with_us = true};
    pid_t pid;
    int status, r;

    (void)snprintf(program, sizeof(program), "mkfs.%.*s", FORMAT_TYPE_MAX - 1, type);
    r = exec_start_and_wait(&spec, &pid, err);
    if (r < 0)
        return r;
    if (waitpid(pid, &status, 0) < 0)
        return vmt_err_set(err, errno, "wait for %s", program);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return vmt_err_setx(err, EIO, "%s %s failed, wait status 0x%x", program, device,
                            status);
    return 0;
}
