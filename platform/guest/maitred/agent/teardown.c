/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/teardown.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/swap.h>
#include <time.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/mountinfo.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/rpc/balloon.h"
#include "platform/guest/maitred/rpc/stateful.h"
#include "platform/linux/os/dir.h"

#define MOUNTS_BYTES_MAX (16ul * 1024 * 1024)
#define SWAPS_BYTES_MAX 65536
#define PASSES_MAX 64 /* passes without progress end the loop long before */
#define SETTLE_STEPS 10
#define SETTLE_STEP_NS 20000000

/* Call fn for each line of a file of /proc. */
static void
each_line(const char *path, size_t max, void (*fn)(void *arg, char *line), void *arg)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char *line, *save = NULL;

    if (file_read(path, max, &text) < 0)
        return;
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        fn(arg, line);
}

static void
swap_off(void *arg, char *line)
{
    (void)arg;
    line[strcspn(line, " \t")] = '\0';
    mountinfo_unescape(line);
    if (*line == '/' && swapoff(line) < 0)
        vmt_log_warning("swapoff %s: %s", line, strerror(errno));
}

static void
collect_target(void *arg, char *line)
{
    struct vmt_argv *targets = arg;
    struct mountinfo m;

    if (mountinfo_parse(line, &m) && mountinfo_is_removable(m.target))
        vmt_argv_add(targets, m.target);
}

/* One pass, youngest mount first. Returns how many went. */
static unsigned
unmount_pass(bool is_last)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv targets = {0};
    unsigned gone = 0;

    each_line("/proc/self/mountinfo", MOUNTS_BYTES_MAX, collect_target, &targets);
    for (size_t i = targets.n; i > 0; i--) {
        const char *target = targets.v[i - 1];

        if (umount2(target, UMOUNT_NOFOLLOW) == 0) {
            gone++;
            continue;
        }
        if (!is_last)
            continue;
        vmt_log_warning("unmount %s: %s, detached", target, strerror(errno));
        (void)mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
        (void)umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH);
    }
    return gone;
}

typedef void stacked_fn(void *arg, const char *name);

/* Call fn for each block device that stands on another one, or on a file: while it is
 * there, what is below it cannot go. */
static void
each_stacked(stacked_fn *fn, void *arg)
{
    VMT_CLEANUP(os_closedirp) DIR *dir = opendir("/sys/block");
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char path[300];

        (void)snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file",
                       entry->d_name);
        if (vmt_str_has_prefix(entry->d_name, "dm-") || access(path, F_OK) == 0)
            fn(arg, entry->d_name);
    }
}

/* A stacked_fn. */
static void
free_loop(void *arg, const char *name)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char path[300];

    (void)arg;
    if (!vmt_str_has_prefix(name, "loop"))
        return;
    (void)snprintf(path, sizeof(path), "/dev/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)ioctl(fd, LOOP_CLR_FD, 0);
}

/* A stacked_fn. */
static void
count_one(void *arg, const char *name)
{
    unsigned *n = arg;

    (void)name;
    *n += 1;
}

/* A stacked_fn. */
static void
tell_left(void *arg, const char *name)
{
    (void)arg;
    vmt_log_warning("device %s is still in use", name);
}

/* Devices that still have users go when the last of them does. Source: Linux v6.1,
 * include/uapi/linux/dm-ioctl.h. */
static void
remove_mapped(void)
{
    struct dm_ioctl request = {
        .version = {DM_VERSION_MAJOR, 0, 0},
        .data_size = sizeof(request),
        .flags = DM_DEFERRED_REMOVE,
    };
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        (void)ioctl(fd, DM_REMOVE_ALL, &request);
}

static unsigned
count_stacked(void)
{
    unsigned n = 0;

    each_stacked(count_one, &n);
    return n;
}

static void
free_devices(void)
{
    each_stacked(free_loop, NULL);
    remove_mapped();
}

/* Devices stand on file systems that stand on devices: from the top down until nothing
 * goes any more. The kernel lets go of a loop's file a little after its last user. */
static void
take_apart(void)
{
    const struct timespec pause = {.tv_nsec = SETTLE_STEP_NS};
    unsigned left = count_stacked(), waited = 0;

    for (int i = 0; i < PASSES_MAX && waited < SETTLE_STEPS; i++) {
        unsigned gone = unmount_pass(false), before = left;

        free_devices();
        left = count_stacked();
        if (gone > 0 || left < before)
            continue;
        if (left == 0)
            return;
        (void)nanosleep(&pause, NULL);
        waited++;
    }
}

int
teardown_run(void *arg, struct vmt_err *err)
{
    (void)arg;
    (void)err;
    (void)chdir("/");
    (void)unlink(STATEFUL_DIR "/" BALLOON_FILE);
    sync(); /* what was acknowledged is safe even if something below hangs */
    each_line("/proc/swaps", SWAPS_BYTES_MAX, swap_off, NULL);
    take_apart();
    (void)unmount_pass(true);
    free_devices();
    each_stacked(tell_left, NULL);
    (void)mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    sync();
    return 0;
}
