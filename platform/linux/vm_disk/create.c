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
create_raw(struct work *work, uint64_t size, struct vmt_err *err)
{
    if (ftruncate(work->temp.fd, (off_t)size) < 0)
        return vmt_err_set(err, errno, "make the image %llu bytes large",
                           (unsigned long long)size);
    if (!work->opt->full)
        return 0;
    while (fallocate(work->temp.fd, 0, 0, (off_t)size) < 0) {
        if (errno != EINTR)
            return vmt_err_set(err, errno, "allocate %llu bytes",
                               (unsigned long long)size);
    }
    return 0;
}

int
work_create(struct work *work, struct outcome *ret_outcome, struct vmt_err *err)
{
    const struct options *opt = work->opt;
    uint64_t size = 0;
    int r;

    if (faccessat(work->place.dir_fd, work->place.name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return vmt_err_setx(err, EEXIST, "%s is there already", work->place.name);
    r = create_size(work, &size, err);
    if (r == 0)
        r = work_temp(work, err);
    if (r == 0)
        r = create_raw(work, size, err);
    if (r == 0)
        r = work_describe(work->temp.fd, ret_outcome, err);
    if (r == 0)
        r = work_place(work, opt->user_chosen_size || opt->full, opt->vm_type, false,
                       err);
    ret_outcome->vm_type = opt->vm_type;
    return r;
}
