/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/uevent.h - the kernel's announcements of devices. */
#pragma once

#include <stddef.h>

struct vmt_err;

/* A non-blocking socket that gets the kernel's own events (not udev's). */
int uevent_open(int *ret_fd, struct vmt_err *err);

/* Take one event: NUL-terminated strings, "add@/devices/..." then KEY=VALUE each. Returns
 * its bytes, or -EAGAIN. Events that the kernel did not send are dropped. */
int uevent_read(int fd, char *buf, size_t cap);

/* The value of key in an event, or NULL. */
const char *uevent_find(const char *event, size_t len, const char *key);

/* Wait until path exists, for at most timeout_ms; looks again whenever a device came.
 * Returns 0, or -ETIMEDOUT. fd may be -1: then it looks only now. */
int uevent_wait_path(int fd, const char *path, unsigned timeout_ms);
