/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/watch/watch.h - struct host_watch on Linux: files by inotify(7), the
 * clock by timerfd_create(2). */
#pragma once

#include "core/adapter/watch.h"

struct os_loop;
struct vmt_err;

/* Which files count. A path may be a symbolic link, and each link and the file at the end
 * may be written, replaced, removed and made anew; folders on the way may come later. */
struct linux_watch_config {
    const char *const *dns;  /* absolute paths, NULL-terminated; borrowed */
    const char *const *zone; /* likewise */
};

/* Those of this host: /etc/resolv.conf with systemd-resolved's list, /etc/localtime. */
extern const struct linux_watch_config linux_watch_files;

int linux_watch_new(struct os_loop *loop, const struct linux_watch_config *config,
                    struct host_watch **ret_watch, struct vmt_err *err);
void linux_watch_free(struct host_watch *watch); /* NULL is legal */
