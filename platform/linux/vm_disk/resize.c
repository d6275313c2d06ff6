/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/resize.c - another size for a disk that no VM has open. What a
 * file system or anybody put there is never cut off. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/size.h"
#include "platform/linux/disk/attrs.h"
#include "platform/linux/vm_disk/cancel.h"
#include "platform/linux/vm_disk/filesystem.h"
#include "platform/linux/vm_disk/qemu_img.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/work.h"

#define CHUNK (1024u * 1024)

/* Whether all bytes from at to end are zero: 1, 0 or -errno. */
static int
resize_range_zero(int fd, uint64_t at, uint64_t end, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) uint8_t *chunk = malloc(CHUNK);

    if (!chunk)
        return vmt_err_set(err, ENOMEM, "look at the disk");
    while (at < end) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        ssize_t n;

        if (data < 0 && errno == ENXIO)
            return 1;
        if (data < 0)
            return vmt_err_set(err, errno, "look for holes");
        n = pread(fd, chunk, CHUNK, data);
        if (n <= 0)
            return vmt_err_set(err, n < 0 ? errno : EIO, "read the disk");
        if (!sink_is_zero(chunk, (size_t)n))
            return 0;
        at = (uint64_t)data + (uint64_t)n;
    }
    return 1;
}

/* Refuse to cut off what somebody may want. */
static int
resize_check_cut(int fd, uint64_t now, uint64_t size, struct vmt_err *err)
{
    struct disk_probe probe;
    int r = filesystem_probe(fd, &probe, err);

    if (r < 0)
        return r;
    if (probe.size > size)
        return vmt_err_setx(err, EINVAL, "the %s file system in it has %llu bytes",
                            probe.name, (unsigned long long)probe.size);
    if (probe.size > 0)
        return 0;
    r = resize_range_zero(fd, size, now, err);
    if (r == 0)
        return vmt_err_setx(err, EINVAL, "there is data beyond %llu bytes",
                            (unsigned long long)size);
    return r < 0 ? r : 0;
}

static int
resize_shrink(const struct work *work, int fd, uint64_t now, uint64_t size,
              struct vmt_err *err)
{
    struct disk_probe probe;
    int r = filesystem_probe(fd, &probe, err);

    if (r == 0 && work->opt->shrink_fs && probe.content == DISK_CONTENT_EXT &&
        probe.size > size) {
        r = filesystem_check(fd, work->opt->sandbox, err);
        if (r == 0)
            r = filesystem_resize(fd, size, work->opt->sandbox, err);
    } else if (r == 0 && work->opt->shrink_fs && probe.content == DISK_CONTENT_BTRFS &&
               probe.size > size) {
        r = vmt_err_setx(err, ENOTSUP, "btrfs can only be made smaller by its VM");
    }
    if (r == 0)
        r = resize_check_cut(fd, now, size, err);
    if (r == 0 && ftruncate(fd, (off_t)size) < 0)
        r = vmt_err_set(err, errno, "make the image smaller");
    return r;
}

/* A file system that fills the disk already is left alone. */
static int
resize_grow_fs(const struct work *work, int fd, uint64_t now, uint64_t size,
               struct vmt_err *err)
{
    struct disk_probe probe;
    int r = filesystem_probe(fd, &probe, err);

    if (r == 0 && (probe.content != DISK_CONTENT_EXT || probe.size >= size))
        return 0;
    if (r == 0)
        r = filesystem_check(fd, work->opt->sandbox, err);
    if (r < 0) {
        (void)!ftruncate(fd, (off_t)now); /* nothing is in the new part yet */
        return r;
    }
    /* If this fails, the file system may have been made larger in part. */
    return filesystem_resize(fd, size, work->opt->sandbox, err);
}

/* To the size that it has, it is the file system that is still to follow. */
static int
resize_grow(const struct work *work, int fd, uint64_t now, uint64_t size,
            struct vmt_err *err)
{
    int r = 0;

    if (size > now && work->opt->full)
        r = work_allocate(fd, now, size, err);
    else if (size > now && ftruncate(fd, (off_t)size) < 0)
        r = vmt_err_set(err, errno, "make the image larger");
    if (r < 0) {
        (void)!ftruncate(fd, (off_t)now);
        return r;
    }
    return work->opt->grow_fs ? resize_grow_fs(work, fd, now, size, err) : 0;
}

/* From its beginning to its end: half of a change is of no use. */
static int
resize_raw(const struct work *work, int fd, uint64_t size, struct vmt_err *err)
{
    struct outcome now;
    int r = work_describe(fd, &now, err);

    if (r < 0 || (size == now.size && !work->opt->grow_fs))
        return r;
    cancel_hold(true);
    r = size >= now.size ? resize_grow(work, fd, now.size, size, err)
                         : resize_shrink(work, fd, now.size, size, err);
    if (r == 0 && fsync(fd) < 0)
        r = vmt_err_set(err, errno, "write the image to the disk");
    cancel_hold(false);
    return r;
}

/* What looks into the disk works on a raw copy, and then makes the image anew: a file
 * system in a qcow2 image has no file of its own. It is rare, and safe. */
static int
resize_copy(struct work *work, int fd, uint64_t size, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int raw = -1;
    struct disk_attrs attrs;
    int r = disk_attrs_read(work->place.dir_fd, work->place.name, fd, &attrs, err);

    if (r == 0)
        r = work_temp(work, err);
    if (r == 0)
        r = qemu_img_convert(fd, DISK_QCOW2, work->temp.fd, DISK_RAW, work->opt->sandbox,
                             err);
    if (r == 0)
        r = resize_raw(work, work->temp.fd, size, err);
    if (r == 0)
        r = work_temp_again(work, &raw, err);
    if (r == 0)
        r = qemu_img_convert(raw, DISK_RAW, work->temp.fd, DISK_QCOW2, work->opt->sandbox,
                             err);
    if (r == 0)
        r = work_place(work, attrs.user_chosen_size || work->opt->user_chosen_size,
                       attrs.vm_type, true, err);
    return r;
}

static int
resize_qcow2(struct work *work, int fd, uint64_t size, struct vmt_err *err)
{
    uint64_t now = 0;
    int r = qemu_img_check(fd, &now, err);

    if (r < 0 || (size == now && !work->opt->grow_fs))
        return r;
    if (size < now || work->opt->grow_fs)
        return resize_copy(work, fd, size, err);
    cancel_hold(true);
    r = qemu_img_resize(fd, size, work->opt->sandbox, err);
    if (r == 0 && fsync(fd) < 0)
        r = vmt_err_set(err, errno, "write the image to the disk");
    cancel_hold(false);
    return r;
}

static int
resize_note(const struct work *work, int fd, struct vmt_err *err)
{
    const struct disk_attrs attrs = {true, DISK_VM_TYPE_UNKNOWN};

    if (!work->opt->user_chosen_size)
        return 0;
    return disk_attrs_write(work->place.dir_fd, work->place.name, fd, &attrs, err);
}

int
work_resize(struct work *work, struct outcome *ret_outcome, struct vmt_err *err)
{
    const uint64_t size = disk_size_align(work->opt->size);
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = work_open_image(work, O_RDWR, false, &fd, err);

    if (r == 0 && !size)
        r = vmt_err_setx(err, EINVAL, "a disk has at least %u bytes", DISK_SIZE_ALIGN);
    if (r == 0)
        r = work->opt->format == DISK_QCOW2 ? resize_qcow2(work, fd, size, err)
                                            : resize_raw(work, fd, size, err);
    if (r == 0)
        r = resize_note(work, fd, err);
    if (r == 0)
        r = work_describe(work->temp.fd >= 0 ? work->temp.fd : fd, ret_outcome, err);
    ret_outcome->size = size;
    return r;
}
