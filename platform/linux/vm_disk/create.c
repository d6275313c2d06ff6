/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/create.c - a new image. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/size.h"
#include "platform/linux/vm_disk/filesystem.h"
#include "platform/linux/vm_disk/import.h"
#include "platform/linux/vm_disk/jail.h"
#include "platform/linux/vm_disk/qemu_img.h"
#include "platform/linux/vm_disk/work.h"

/* Unsaid, as large as fits. */
static int
create_size(const struct work *work, uint64_t *ret_size, struct vmt_err *err)
{
    struct statvfs fs;

    if (work->opt->size) {
        *ret_size = disk_size_align(work->opt->size);
        return *ret_size ? 0
                         : vmt_err_setx(err, EINVAL, "a disk has at least %u bytes",
                                        DISK_SIZE_ALIGN);
    }
    if (fstatvfs(work->place.dir_fd, &fs) < 0)
        return vmt_err_set(err, errno, "ask how much is free");
    *ret_size =
        disk_size_auto((uint64_t)fs.f_bavail * fs.f_frsize,
                       (uint64_t)fs.f_blocks * fs.f_frsize, work->opt->storage_balloon);
    return 0;
}

static int
create_grow(struct work *work, uint64_t size, struct vmt_err *err)
{
    struct outcome now;
    int r = work_describe(work->temp.fd, &now, err);

    if (r < 0)
        return r;
    if (size > now.size && ftruncate(work->temp.fd, (off_t)size) < 0)
        return vmt_err_set(err, errno, "make the image %llu bytes large",
                           (unsigned long long)size);
    return work->opt->full ? work_allocate(work->temp.fd, 0, size, err) : 0;
}

/* The content, raw, in work->temp. */
static int
create_raw(struct work *work, uint64_t size, struct vmt_err *err)
{
    struct jail_answer content;
    int r = work->opt->data_fd >= 0 ? import_read(work, DISK_RAW, &content, err)
                                    : work_temp(work, err);

    if (r == 0)
        r = create_grow(work, size, err);
    return r < 0 ? r : filesystem_make(work->opt, work->temp.fd, err);
}

static int
create_qcow2(struct work *work, uint64_t size, struct vmt_err *err)
{
    const struct options *opt = work->opt;
    VMT_CLEANUP(vmt_closep) int raw = -1;
    int r;

    if (opt->data_fd < 0 && opt->fs == FILE_SYSTEM_NONE) {
        r = work_temp(work, err);
        return r < 0 ? r : qemu_img_create(work->temp.fd, size, opt->sandbox, err);
    }
    r = create_raw(work, size, err);
    if (r == 0)
        r = work_temp_again(work, &raw, err);
    return r < 0 ? r
                 : qemu_img_convert(raw, DISK_RAW, work->temp.fd, DISK_QCOW2,
                                    opt->sandbox, err);
}

int
work_create(struct work *work, struct outcome *ret_outcome, struct vmt_err *err)
{
    const struct options *opt = work->opt;
    uint64_t size = 0;
    int r = work_check_missing(work, err);

    if (r == 0)
        r = filesystem_check_options(opt, err);
    if (r == 0)
        r = create_size(work, &size, err);
    if (r == 0)
        r = opt->format == DISK_QCOW2 ? create_qcow2(work, size, err)
                                      : create_raw(work, size, err);
    if (r == 0)
        r = work_describe(work->temp.fd, ret_outcome, err);
    if (r == 0 && opt->format == DISK_QCOW2)
        r = qemu_img_check(work->temp.fd, &ret_outcome->size, err);
    if (r == 0)
        r = work_place(work, opt->user_chosen_size || opt->full, opt->vm_type, false,
                       err);
    ret_outcome->vm_type = opt->vm_type;
    return r;
}
