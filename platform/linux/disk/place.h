/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/disk/place.h - the place of an image: its folder and name, the lock on
 * the name, and how a new file gets there whole or not at all. */
#pragma once

#include <stdbool.h>

struct vmt_err;

struct disk_place {
    int dir_fd;  /* owned, -1: none */
    int lock_fd; /* owned, -1: not locked */
    char *name;  /* owned; one path component that does not begin with a dot */
};

/* Find the folder of path and open it. With beneath >= 0, path is relative to that
 * folder, cannot leave it, and none of its parts may be a symbolic link (Linux 5.6);
 * with -1 only the folder itself may not be one. The image need not exist.
 * Returns 0; -EINVAL: not a name for an image; -ENAMETOOLONG; -errno of open. */
int disk_place_open(int beneath, const char *path, struct disk_place *ret_place,
                    struct vmt_err *err);
void disk_place_done(struct disk_place *place);

/* Lock the name until the place is done, or the process ends: one byte of the file .lock
 * in the folder, at an offset that is a hash of the name. Two names may share a byte,
 * then one is busy without need. The lock belongs to the open file, so forked children
 * hold it, too.
 * Returns 0; -EBUSY: somebody holds it; -errno. */
int disk_place_lock(struct disk_place *place, struct vmt_err *err);

/* Whether another holder of the lock is there: 1, 0 or -errno. */
int disk_place_busy(const struct disk_place *place);

/* Lock an open image against VMs: flock, which crosvm takes, and the bytes that QEMU
 * takes. shared: others may read. Goes with the open file.
 * Returns 0; -EBUSY: a VM has the image; -errno.
 * Source: QEMU 7.2, block/file-posix.c, RAW_LOCK_PERM_BASE; crosvm f1e797a68,
 * base/src/sys/unix/mod.rs, flock. */
int disk_image_lock(int fd, bool shared, struct vmt_err *err);

/* A file that is not there yet. */
struct disk_temp {
    int fd;     /* owned, open for reading and writing */
    char *name; /* owned; NULL: it has none */
};

/* Make an empty temporary, 0600, in the folder of a locked place. named: do not try an
 * unnamed one; a named one of before is removed. */
int disk_temp_open(const struct disk_place *place, bool named, struct disk_temp *ret_temp,
                   struct vmt_err *err);
/* Closes it; one that was not placed is gone. */
void disk_temp_done(const struct disk_place *place, struct disk_temp *temp);

/* Write the temporary to the disk and give it its name, then write the folder. replace: a
 * file of that name goes at the same moment; else -EEXIST.
 * When it returns 0, a crash does not undo it. */
int disk_temp_place(const struct disk_place *place, struct disk_temp *temp, bool replace,
                    struct vmt_err *err);

/* Names of temporaries of name, ".name.tmp" and ".name.new" for step 0 and 1, malloc'ed;
 * NULL without memory. */
char *disk_temp_name(const char *name, unsigned step);

/* Remove what killed workers left in the folder, except for images that others have
 * locked; that of a place which is locked itself goes, too, and must not be in use.
 * *ret_removed counts. */
int disk_place_clean(const struct disk_place *place, unsigned *ret_removed,
                     struct vmt_err *err);
