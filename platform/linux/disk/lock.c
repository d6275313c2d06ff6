/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/disk/lock.c - who has an image now. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/disk/place.h"

#define LOCK_FILE ".lock"

/* QEMU has one byte for each permission that it uses, and one for each that it does not
 * let others have: read, write, write unchanged, resize. */
#define QEMU_USES 100
#define QEMU_DENIES 200
#define QEMU_PERMISSIONS 4
enum { QEMU_READ, QEMU_WRITE, QEMU_WRITE_UNCHANGED, QEMU_RESIZE };

/* FNV-1a, 64 bits, less those that an off_t has not. */
static off_t
lock_offset(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (const char *p = name; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 0x100000001b3u;
    return (off_t)(hash >> 2);
}

static int
lock_file_open(const struct disk_place *place)
{
    int fd =
        openat(place->dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : fd;
}

static struct flock
lock_byte(off_t offset, short type)
{
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
}

int
disk_place_lock(struct disk_place *place, struct vmt_err *err)
{
    struct flock lock = lock_byte(lock_offset(place->name), F_WRLCK);
    VMT_CLEANUP(vmt_closep) int fd = lock_file_open(place);

    if (fd < 0)
        return vmt_err_set(err, -fd, "open the lock file beside %s", place->name);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno == EAGAIN || errno == EACCES)
            return vmt_err_setx(err, EBUSY, "another operation has %s", place->name);
        return vmt_err_set(err, errno, "lock %s", place->name);
    }
    place->lock_fd = vmt_take_fd(&fd);
    return 0;
}

int
disk_place_busy(const struct disk_place *place)
{
    struct flock lock = lock_byte(lock_offset(place->name), F_WRLCK);
    VMT_CLEANUP(vmt_closep)
    int fd = openat(place->dir_fd, LOCK_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

/* Whether a lock of anybody else is on the byte: 1, 0 or -errno. */
static int
lock_seen(int fd, off_t offset)
{
    struct flock lock = lock_byte(offset, F_WRLCK);

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

/* As QEMU does it: first say what we use and deny, then see whether that collides. */
static int
lock_qemu(int fd, bool shared)
{
    for (unsigned i = 0; i < QEMU_PERMISSIONS; i++) {
        bool changes = i != QEMU_READ;
        struct flock uses = lock_byte(QEMU_USES + (off_t)i, F_RDLCK);
        struct flock denies = lock_byte(QEMU_DENIES + (off_t)i, F_RDLCK);

        if ((!shared || !changes) && fcntl(fd, F_OFD_SETLK, &uses) < 0)
            return -errno;
        if ((!shared || changes) && fcntl(fd, F_OFD_SETLK, &denies) < 0)
            return -errno;
    }
    for (unsigned i = 0; i < QEMU_PERMISSIONS; i++) {
        bool changes = i != QEMU_READ;
        int used = !shared || changes ? lock_seen(fd, QEMU_USES + (off_t)i) : 0;
        int denied = !shared || !changes ? lock_seen(fd, QEMU_DENIES + (off_t)i) : 0;

        if (used != 0 || denied != 0)
            return used < 0 ? used : denied < 0 ? denied : -EBUSY;
    }
    return 0;
}

int
disk_image_lock(int fd, bool shared, struct vmt_err *err)
{
    int r;

    if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return vmt_err_setx(err, EBUSY, "a VM has the image open");
        return vmt_err_set(err, errno, "lock the image");
    }
    r = lock_qemu(fd, shared);
    if (r == -EBUSY || r == -EAGAIN || r == -EACCES)
        return vmt_err_setx(err, EBUSY, "a VM has the image open");
    return r < 0 ? vmt_err_set(err, -r, "lock the image") : 0;
}
