/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/stateful.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/guest/maitred/init/mounts.h"
#include "platform/guest/maitred/rpc/balloon.h"
#include "platform/guest/maitred/rpc/blank.h"
#include "platform/guest/maitred/rpc/filesystem.h"
#include "platform/guest/maitred/rpc/format.h"

#define FSTYPE_NEW "btrfs"

/* How each type is mounted, and how to get at the state before the newest one. The host's
 * image shall shrink with its file system, but what was just freed must not be gone at
 * once: the older state of a btrfs is in it.
 * Sources: btrfs(5), discard and rescue; Linux 6.1,
 * Documentation/filesystems/{ext4,xfs}. */
static const struct {
    const char *type, *options, *older;
} types[] = {
    {"btrfs", "user_subvol_rm_allowed,discard=async",
     "user_subvol_rm_allowed,discard=async,rescue=usebackuproot"},
    {"ext4", "discard", NULL},
    {"xfs", "discard", NULL},
};

/* 1 when the device is mounted at STATEFUL_DIR, 0 when nothing is, -ENODEV for another
 * device. */
static int
is_mounted(const char *device, struct vmt_err *err)
{
    struct filesystem fs;
    struct stat there, disk;

    if (filesystem_at(STATEFUL_DIR, &fs) < 0)
        return 0;
    if (stat(fs.device, &there) == 0 && stat(device, &disk) == 0 &&
        there.st_rdev == disk.st_rdev)
        return 1;
    return vmt_err_setx(err, ENODEV, "%s is mounted at " STATEFUL_DIR ", not %s",
                        fs.device, device);
}

static int
mount_with(const char *device, const char *type, const char *options)
{
    return mount(device, STATEFUL_DIR, type, 0, options) < 0 ? -errno : 0;
}

static void
mount_type(const char *device, size_t type, struct stateful *ret)
{
    const char *name = types[type].type;
    int r, again;

    if (!modules_fs_known(name))
        (void)modules_load_from_root(name, NULL); /* mount says what is wrong */
    r = mount_with(device, name, types[type].options);
    ret->outcome = STATEFUL_MOUNTED;
    if (r == 0)
        return;
    again = types[type].older ? mount_with(device, name, types[type].older) : r;
    ret->outcome = again == 0 ? STATEFUL_OLDER : STATEFUL_FAILED;
    (void)snprintf(ret->why, sizeof(ret->why), "mount %s as %s: %s%s%s", device, name,
                   strerror(-r), types[type].older ? "; with an older root: " : "",
                   types[type].older ? strerror(-again) : "");
}

/* Returns 0 and the type of the file system, made if there was nothing. "": something
 * that is none of ours. */
static int
find_or_make(const char *device, char type[FORMAT_TYPE_MAX], struct vmt_err *err)
{
    int r = format_probe(device, type, err);

    if (r == 0 && !type[0])
        r = blank_check(device, err);
    if (r <= 0)
        return r;
    vmt_log_notice("%s is empty and gets a " FSTYPE_NEW, device);
    r = format_make(FSTYPE_NEW, device, err);
    if (r == 0)
        (void)snprintf(type, FORMAT_TYPE_MAX, FSTYPE_NEW);
    return r;
}

static int
mount_found(const char *device, struct stateful *ret, struct vmt_err *err)
{
    char type[FORMAT_TYPE_MAX] = "";
    int r = find_or_make(device, type, err);

    if (r < 0)
        return r;
    r = mounts_mkdir_p(STATEFUL_DIR, 0755, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(types); i++) {
        if (strcmp(type, types[i].type) == 0) {
            mount_type(device, i, ret);
            return 0;
        }
    }
    ret->outcome = STATEFUL_FAILED;
    (void)snprintf(ret->why, sizeof(ret->why),
                   "%s holds %s, which is no file system for containers; it is kept",
                   device, type[0] ? type : "something unknown");
    return 0;
}

/* The host may have made the disk larger since. A file system that stays small still
 * works. */
static void
grow(void)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct filesystem fs;
    uint64_t disk = 0, now = 0, min;
    struct vmt_err err;

    if (filesystem_at(STATEFUL_DIR, &fs) < 0)
        return;
    fd = open(fs.device, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &disk) < 0 ||
        filesystem_size(&fs, &now, &min, NULL) < 0)
        return;
    disk -= disk % 4096; /* no file system has a part of a block at its end */
    if (now < disk && filesystem_resize(&fs, disk, &err) < 0)
        vmt_log_warning("%s stays at %llu bytes: %s", fs.device, (unsigned long long)now,
                        err.msg);
}

int
stateful_mount(const char *device, struct stateful *ret, struct vmt_err *err)
{
    struct statvfs space;
    int r;

    *ret = (struct stateful){.outcome = STATEFUL_MOUNTED};
    format_await_device(device);
    if (access(device, F_OK) < 0)
        return vmt_err_setx(err, ENODEV, "there is no disk %s here", device);
    r = is_mounted(device, err);
    if (r == 0) {
        r = mount_found(device, ret, err);
        if (r == 0 && ret->outcome != STATEFUL_FAILED)
            (void)unlink(STATEFUL_DIR "/" BALLOON_FILE); /* the host says it anew */
    }
    if (r < 0 || ret->outcome == STATEFUL_FAILED)
        return r < 0 ? r : 0;
    grow();
    ret->has_free = statvfs(STATEFUL_DIR, &space) == 0;
    if (ret->has_free)
        ret->free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    return 0;
}
