/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/guest/maitred/init/cmdline.h"
#include "platform/guest/maitred/init/mounts.h"
#include "platform/guest/maitred/init/report.h"
#include "platform/guest/maitred/init/uevent.h"

#define ROOT_LOWER "/.maitred/lower"
#define ROOT_RW "/.maitred/rw"
#define ROOT_NEW "/.maitred/root"
#define FREE_DEPTH_MAX 16 /* directories deeper than this stay; ours has three levels */

static const char *const moved[] = {"/dev", "/proc", "/sys"};

static int
mount_device(const struct cmdline *c, const char *target, struct vmt_err *err)
{
    unsigned long flags = c->root_rw ? 0 : MS_RDONLY;
    const char *data = c->rootflags[0] ? c->rootflags : NULL;

    if (!c->rootfstype[0])
        return vmt_err_setx(err, EINVAL, "root=%s needs rootfstype=", c->root);
    if (mount(c->root, target, c->rootfstype, flags, data) < 0)
        return vmt_err_set(err, errno, "mount root %s as %s", c->root, c->rootfstype);
    return 0;
}

/* A tmpfs over the read-only device. */
static int
mount_overlay(struct vmt_err *err)
{
    if (mount("rw", ROOT_RW, "tmpfs", MS_NODEV, "mode=0755") < 0)
        return vmt_err_set(err, errno, "mount tmpfs for the overlay");
    if (mkdir(ROOT_RW "/upper", 0755) < 0 || mkdir(ROOT_RW "/work", 0755) < 0)
        return vmt_err_set(err, errno, "make directories of the overlay");
    if (mount("root", ROOT_NEW, "overlay", 0,
              "lowerdir=" ROOT_LOWER ",upperdir=" ROOT_RW "/upper,workdir=" ROOT_RW
              "/work") < 0)
        return vmt_err_set(err, errno, "mount overlay");
    return 0;
}

/* Have the final root at ROOT_NEW. Without an overlay file system in the kernel a
 * read-only root is still better than none. */
static int
mount_root(const struct cmdline *c, struct report *report, struct vmt_err *err)
{
    struct vmt_err overlay_err;
    int r = mounts_mkdir_p(ROOT_LOWER, 0755, err);

    if (r == 0)
        r = mounts_mkdir_p(ROOT_RW, 0755, err);
    if (r == 0)
        r = mounts_mkdir_p(ROOT_NEW, 0755, err);
    if (r < 0)
        return r;
    if (c->root_rw || !c->root_overlay)
        return mount_device(c, ROOT_NEW, err);
    r = mount_device(c, ROOT_LOWER, err);
    if (r < 0)
        return r;
    if (mount_overlay(&overlay_err) == 0)
        return 0;
    report_degraded(report, "root stays read-only: %s", overlay_err.msg);
    if (mount(ROOT_LOWER, ROOT_NEW, NULL, MS_BIND, NULL) < 0)
        return vmt_err_set(err, errno, "bind root");
    return 0;
}

/* Undo mount_root, as far as it came. */
static void
unmount_root(void)
{
    (void)umount2(ROOT_NEW, MNT_DETACH);
    (void)umount2(ROOT_RW, MNT_DETACH);
    (void)umount2(ROOT_LOWER, MNT_DETACH);
}

static void
move_mounts(struct report *report)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(moved); i++) {
        char target[64];

        (void)snprintf(target, sizeof(target), "%s%s", ROOT_NEW, moved[i]);
        if (mount(moved[i], target, NULL, MS_MOVE, NULL) == 0)
            continue;
        (void)mkdir(target, 0755);
        if (mount(moved[i], target, NULL, MS_MOVE, NULL) < 0)
            report_degraded(report, "move %s: %s", moved[i], strerror(errno));
    }
}

/* pivot_root does not work on the initramfs, so the new root is moved over it:
 * Documentation/filesystems/ramfs-rootfs-initramfs.rst. */
static int
enter_root(struct vmt_err *err)
{
    if (chdir(ROOT_NEW) < 0)
        return vmt_err_set(err, errno, "enter the new root");
    if (mount(".", "/", NULL, MS_MOVE, NULL) < 0)
        return vmt_err_set(err, errno, "move the new root to /");
    if (chroot(".") < 0 || chdir("/") < 0)
        return vmt_err_set(err, errno, "change root");
    return 0;
}

int
root_switch(const struct cmdline *c, int uevent_fd, int *ret_old, struct report *report,
            struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int old = -1;
    int r;

    *ret_old = -1;
    if (!c->root[0])
        return 0;
    if (!vmt_str_has_prefix(c->root, "/dev/"))
        return vmt_err_setx(err, EINVAL, "root=%s: only /dev/... is known", c->root);
    r = uevent_wait_path(uevent_fd, c->root, c->root_timeout_s * 1000);
    if (r < 0)
        return vmt_err_setx(err, ETIMEDOUT, "root device %s did not appear within %u s",
                            c->root, c->root_timeout_s);
    old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = mount_root(c, report, err);
    if (r < 0) {
        unmount_root();
        return r;
    }
    move_mounts(report);
    r = enter_root(err);
    if (r < 0)
        return r;
    *ret_old = vmt_take_fd(&old);
    return 0;
}

static bool
is_initramfs(int fd)
{
    struct statfs st;

    return fstatfs(fd, &st) == 0 &&
           (st.f_type == RAMFS_MAGIC || st.f_type == TMPFS_MAGIC);
}

/* Delete what is in the directory fd, which is taken over, and on its file system. */
static void
delete_content(int fd, dev_t dev, unsigned depth)
{
    DIR *dir = fdopendir(fd);
    struct dirent *entry;

    if (!dir) {
        (void)close(fd);
        return;
    }
    while ((entry = readdir(dir))) {
        struct stat st;
        int sub;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || depth == FREE_DEPTH_MAX)
            continue;
        sub = openat(dirfd(dir), entry->d_name,
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0)
            continue;
        if (fstat(sub, &st) < 0 || st.st_dev != dev) {
            (void)close(sub);
            continue;
        }
        delete_content(sub, dev, depth + 1);
        (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    }
    (void)closedir(dir);
}

void
root_free_initramfs(int old)
{
    struct stat st;

    if (old < 0)
        return;
    if (!is_initramfs(old) || fstat(old, &st) < 0) {
        (void)close(old);
        return;
    }
    delete_content(old, st.st_dev, 0);
}
