/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/filesystem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/mountinfo.h"
#include "platform/guest/maitred/rpc/stateful.h"
#include "platform/linux/os/paths.h"

#define SYS_BLOCK "/sys/block"

/* Source: Linux 6.1, fs/ext4/ext4.h. */
#define EXT4_RESIZE_FS _IOW('f', 16, uint64_t)
#define EXT4_SUPER_AT 1024
#define EXT4_SUPER_BYTES 1024
#define EXT4_BLOCKS_LO 4 /* little endian, as all of it */
#define EXT4_LOG_BLOCK 24
#define EXT4_MAGIC_AT 56
#define EXT4_MAGIC 0xef53
#define EXT4_BLOCKS_HI 336

/* Source: Linux 6.1, fs/xfs/libxfs/xfs_fs.h, struct xfs_fsop_geom_v1 and xfs_growfs_data;
 * no header of the kernel has them. */
struct xfs_geometry {
    uint32_t blocksize, rtextsize, agblocks, agcount, logblocks, sectsize, inodesize,
        imaxpct;
    uint64_t datablocks, rtblocks, rtextents, logstart;
    uint8_t uuid[16];
    uint32_t sunit, swidth;
    int32_t version;
    uint32_t flags, logsectsize, rtsectsize, dirblocksize;
};
struct xfs_growth {
    uint64_t newblocks;
    uint32_t imaxpct;
};
#define XFS_GEOMETRY _IOR('X', 100, struct xfs_geometry)
#define XFS_GROW _IOW('X', 110, struct xfs_growth)

/* Chunks move as a whole when a btrfs becomes smaller; one has to have somewhere to go.
 */
#define BTRFS_SLACK (256ull * 1024 * 1024)

/* Name of the disk with a serial below /sys/block. Serials are what the host gave. */
static int
disk_by_serial(const char *serial, char *name, size_t cap, struct vmt_err *err)
{
    DIR *dir = opendir(SYS_BLOCK);
    int r = -ENODEV;

    if (!dir)
        return vmt_err_set(err, errno, "list the disks");
    for (struct dirent *e = readdir(dir); e && r < 0; e = readdir(dir)) {
        VMT_CLEANUP(vmt_freep) char *data = NULL;
        char path[sizeof(SYS_BLOCK) + sizeof(e->d_name) + 16];
        unsigned long len = 0;

        if (e->d_name[0] == '.' || strlen(e->d_name) >= cap)
            continue;
        (void)snprintf(path, sizeof(path), SYS_BLOCK "/%s/serial", e->d_name);
        if (os_read_file(path, FILESYSTEM_SERIAL_MAX, &data, &len, NULL) < 0)
            continue;
        data[strcspn(data, "\n")] = '\0';
        if (strcmp(data, serial) != 0)
            continue;
        (void)snprintf(name, cap, "%s", e->d_name);
        r = 0;
    }
    (void)closedir(dir);
    return r < 0 ? vmt_err_setx(err, ENODEV, "there is no disk %s here", serial) : 0;
}

static bool
take_mount(const struct mountinfo *m, struct filesystem *fs)
{
    if (strlen(m->target) >= sizeof(fs->target) || strlen(m->type) >= sizeof(fs->type) ||
        strlen(m->source) >= sizeof(fs->device))
        return false;
    (void)snprintf(fs->target, sizeof(fs->target), "%s", m->target);
    (void)snprintf(fs->type, sizeof(fs->type), "%s", m->type);
    (void)snprintf(fs->device, sizeof(fs->device), "%s", m->source);
    return true;
}

/* Are these the same block device? It has several names. */
static bool
is_device(const char *source, const char *device)
{
    struct stat a, b;

    if (strcmp(source, device) == 0)
        return true;
    return vmt_str_has_prefix(source, "/dev/") && stat(source, &a) == 0 &&
           stat(device, &b) == 0 && S_ISBLK(a.st_mode) && a.st_rdev == b.st_rdev;
}

/* Is this the mount that is looked for? device "" looks for the stateful disk: then 2 is
 * surely it, and 1 only if there is nothing better. */
static int
rate_mount(const struct mountinfo *m, const char *device)
{
    if (*device)
        return is_device(m->source, device) ? 2 : 0;
    if (strcmp(m->target, STATEFUL_DIR) == 0)
        return 2;
    return vmt_str_has_prefix(m->source, "/dev/vd") && strcmp(m->target, "/") != 0 &&
                   strcmp(m->source, "/dev/vda") != 0
               ? 1
               : 0;
}

int
filesystem_find(const char *serial, struct filesystem *ret_fs, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen("/proc/self/mountinfo", "re");
    VMT_CLEANUP(vmt_freep) char *line = NULL;
    char name[FILESYSTEM_DEVICE_MAX - 8] = "", device[FILESYSTEM_DEVICE_MAX] = "";
    struct mountinfo m;
    size_t cap = 0;
    int best = 0, r = 0;

    if (!f)
        return vmt_err_set(err, errno, "read the mounts");
    if (*serial)
        r = disk_by_serial(serial, name, sizeof(name), err);
    if (r < 0)
        return r;
    if (*serial)
        (void)snprintf(device, sizeof(device), "/dev/%s", name);
    while (getline(&line, &cap, f) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        if (!mountinfo_parse(line, &m) || rate_mount(&m, device) <= best)
            continue;
        if (take_mount(&m, ret_fs))
            best = rate_mount(&m, device);
    }
    if (best == 0)
        return vmt_err_setx(err, ENODEV, "%s%s is not mounted", *serial ? "disk " : "",
                            *serial ? serial : "a stateful disk");
    return 0;
}

int
filesystem_at(const char *target, struct filesystem *ret_fs)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen("/proc/self/mountinfo", "re");
    VMT_CLEANUP(vmt_freep) char *line = NULL;
    struct mountinfo m;
    size_t cap = 0;
    int r = -ENODEV;

    if (!f)
        return -errno;
    while (getline(&line, &cap, f) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        if (mountinfo_parse(line, &m) && strcmp(m.target, target) == 0)
            r = take_mount(&m, ret_fs) ? 0 : -ENAMETOOLONG;
    }
    return r;
}

static uint64_t
little(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

/* From the superblock: statfs leaves out what the file system needs for itself. */
static int
ext4_size(const struct filesystem *fs, int fd, uint64_t *ret_size, uint64_t *ret_min,
          struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int disk = open(fs->device, O_RDONLY | O_CLOEXEC);
    uint8_t super[EXT4_SUPER_BYTES];
    uint64_t blocks, log;

    (void)fd;
    if (disk < 0)
        return vmt_err_set(err, errno, "open %s", fs->device);
    if (pread(disk, super, sizeof(super), EXT4_SUPER_AT) != (ssize_t)sizeof(super) ||
        little(super + EXT4_MAGIC_AT, 2) != EXT4_MAGIC)
        return vmt_err_setx(err, EIO, "%s has no ext4 superblock", fs->device);
    blocks = little(super + EXT4_BLOCKS_LO, 4) | little(super + EXT4_BLOCKS_HI, 4) << 32;
    log = little(super + EXT4_LOG_BLOCK, 4);
    if (log > 6 || blocks > UINT64_MAX >> (10 + log))
        return vmt_err_setx(err, EIO, "%s has a damaged superblock", fs->device);
    *ret_size = *ret_min = blocks << (10 + log);
    return 0;
}

static int
ext4_resize(const struct filesystem *fs, int fd, uint64_t size, struct vmt_err *err)
{
    uint64_t now = 0, min, blocks;
    struct statfs st;
    int r = ext4_size(fs, fd, &now, &min, err);

    if (r < 0)
        return r;
    if (fstatfs(fd, &st) < 0 || st.f_bsize <= 0)
        return vmt_err_set(err, errno, "look at %s", fs->target);
    blocks = size / (uint64_t)st.f_bsize;
    if (blocks * (uint64_t)st.f_bsize < now)
        return vmt_err_setx(err, ENOTSUP,
                            "ext4 cannot be made smaller while it is mounted; stop the "
                            "VM first");
    if (ioctl(fd, EXT4_RESIZE_FS, &blocks) < 0)
        return vmt_err_set(err, errno, "resize ext4 on %s", fs->target);
    return 0;
}

static int
btrfs_size(const struct filesystem *fs, int fd, uint64_t *ret_size, uint64_t *ret_min,
           struct vmt_err *err)
{
    struct btrfs_ioctl_dev_info_args info = {.devid = 1};

    if (ioctl(fd, BTRFS_IOC_DEV_INFO, &info) < 0)
        return vmt_err_set(err, errno, "look at btrfs on %s", fs->target);
    *ret_size = info.total_bytes;
    *ret_min = info.bytes_used + BTRFS_SLACK < info.total_bytes
                   ? info.bytes_used + BTRFS_SLACK
                   : info.total_bytes;
    return 0;
}

static int
btrfs_resize(const struct filesystem *fs, int fd, uint64_t size, struct vmt_err *err)
{
    struct btrfs_ioctl_vol_args args = {.fd = 0};

    (void)snprintf(args.name, sizeof(args.name), "1:%llu", (unsigned long long)size);
    if (ioctl(fd, BTRFS_IOC_RESIZE, &args) < 0)
        return vmt_err_set(err, errno, "resize btrfs on %s", fs->target);
    return 0;
}

static int
xfs_size(const struct filesystem *fs, int fd, uint64_t *ret_size, uint64_t *ret_min,
         struct vmt_err *err)
{
    struct xfs_geometry g = {.blocksize = 0};

    if (ioctl(fd, XFS_GEOMETRY, &g) < 0)
        return vmt_err_set(err, errno, "look at xfs on %s", fs->target);
    *ret_size = *ret_min = g.datablocks * g.blocksize;
    return 0;
}

static int
xfs_resize(const struct filesystem *fs, int fd, uint64_t size, struct vmt_err *err)
{
    struct xfs_geometry g = {.blocksize = 0};
    struct xfs_growth growth = {.newblocks = 0};

    if (ioctl(fd, XFS_GEOMETRY, &g) < 0 || g.blocksize == 0)
        return vmt_err_set(err, errno, "look at xfs on %s", fs->target);
    growth.newblocks = size / g.blocksize;
    growth.imaxpct = g.imaxpct;
    if (growth.newblocks < g.datablocks)
        return vmt_err_setx(err, ENOTSUP, "xfs cannot be made smaller");
    if (ioctl(fd, XFS_GROW, &growth) < 0)
        return vmt_err_set(err, errno, "resize xfs on %s", fs->target);
    return 0;
}

static const struct kind {
    const char *type;
    int (*size)(const struct filesystem *fs, int fd, uint64_t *ret_size,
                uint64_t *ret_min, struct vmt_err *err);
    int (*resize)(const struct filesystem *fs, int fd, uint64_t size,
                  struct vmt_err *err);
} kinds[] = {
    {"ext4", ext4_size, ext4_resize},
    {"btrfs", btrfs_size, btrfs_resize},
    {"xfs", xfs_size, xfs_resize},
};

static int
open_kind(const struct filesystem *fs, const struct kind **ret_kind, int *ret_fd,
          struct vmt_err *err)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].type, fs->type) != 0)
            continue;
        *ret_kind = &kinds[i];
        *ret_fd = open(fs->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret_fd < 0 ? vmt_err_set(err, errno, "open %s", fs->target) : 0;
    }
    return vmt_err_setx(err, ENOTSUP, "a file system of type %s cannot be resized",
                        fs->type);
}

int
filesystem_size(const struct filesystem *fs, uint64_t *ret_size, uint64_t *ret_min,
                struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    const struct kind *kind = NULL;
    int r = open_kind(fs, &kind, &fd, err);

    return r < 0 || !kind ? r : kind->size(fs, fd, ret_size, ret_min, err);
}

/* The host enlarges the disk first, and the kernel hears of it by an interrupt. The
 * pauses are those of the original. Source: platform2 vm_tools/maitred/service_impl.cc,
 * ResizeFilesystem. */
static int
wait_for_disk(const char *device, uint64_t size, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(device, O_RDONLY | O_CLOEXEC);
    uint64_t bytes = 0;

    if (fd < 0)
        return vmt_err_set(err, errno, "open %s", device);
    for (long ms = 100;; ms *= 2) {
        const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

        if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
            return vmt_err_set(err, errno, "ask for the size of %s", device);
        if (bytes >= size)
            return 0;
        if (ms > 1600)
            return vmt_err_setx(err, ENOSPC, "%s has %llu bytes only", device,
                                (unsigned long long)bytes);
        (void)nanosleep(&pause, NULL);
    }
}

int
filesystem_resize(const struct filesystem *fs, uint64_t size, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    const struct kind *kind = NULL;
    int r = open_kind(fs, &kind, &fd, err);

    if (r == 0)
        r = wait_for_disk(fs->device, size, err);
    return r < 0 || !kind ? r : kind->resize(fs, fd, size, err);
}
