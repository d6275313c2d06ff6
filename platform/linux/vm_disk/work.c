/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/work.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/disk/attrs.h"
#include "platform/linux/vm_disk/cancel.h"

int
work_init(struct work *work, const struct options *opt, struct vmt_err *err)
{
    unsigned removed = 0;
    int r;

    *work = (struct work){
        .opt = opt, .place = {.dir_fd = -1, .lock_fd = -1}, .temp = {.fd = -1}};
    r = disk_place_open(opt->dir_fd, opt->image, &work->place, err);
    if (r == 0 && opt->command != COMMAND_CLEAN)
        r = disk_place_lock(&work->place, err);
    /* Whatever goes wrong with what others left is no reason to fail. */
    if (r == 0 && opt->command != COMMAND_CLEAN)
        (void)disk_place_clean(&work->place, &removed, NULL);
    return r;
}

void
work_done(struct work *work)
{
    cancel_hold(true);
    disk_temp_done(&work->place, &work->temp);
    disk_place_done(&work->place);
}

int
work_temp(struct work *work, struct vmt_err *err)
{
    int r;

    cancel_hold(true); /* between its making and the note of its name */
    r = disk_temp_open(&work->place, work->opt->named_temp, &work->temp, err);
    cancel_temp(work->place.dir_fd, work->temp.name);
    cancel_hold(false);
    return r;
}

int
work_temp_again(struct work *work, int *ret_old, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int old = vmt_dup_fd(work->temp.fd);
    int r;

    if (old < 0)
        return vmt_err_set(err, -old, "make a second temporary file");
    cancel_hold(true);
    disk_temp_done(&work->place, &work->temp);
    cancel_temp(-1, NULL);
    cancel_hold(false);
    r = work_temp(work, err);
    if (r == 0)
        *ret_old = vmt_take_fd(&old);
    return r;
}

int
work_check_missing(const struct work *work, struct vmt_err *err)
{
    if (faccessat(work->place.dir_fd, work->place.name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return vmt_err_setx(err, EEXIST, "%s is there already", work->place.name);
    return 0;
}

int
work_place(struct work *work, bool user_chosen_size, int vm_type, bool replace,
           struct vmt_err *err)
{
    const struct disk_attrs attrs = {user_chosen_size, vm_type};
    int r = disk_attrs_write(work->place.dir_fd, work->place.name, work->temp.fd, &attrs,
                             err);

    /* Before the long part: what is left to do is short then. */
    if (r == 0 && fdatasync(work->temp.fd) < 0)
        r = vmt_err_set(err, errno, "write the image to the disk");
    if (r < 0)
        return r;
    cancel_hold(true);
    return disk_temp_place(&work->place, &work->temp, replace, err);
}

int
work_open_image(const struct work *work, int flags, bool shared, int *ret_fd,
                struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep)
    int fd = openat(work->place.dir_fd, work->place.name,
                    flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "open %s", work->place.name);
    if (!S_ISREG(st.st_mode))
        return vmt_err_setx(err, EINVAL, "%s is not a file", work->place.name);
    r = work->opt->force && shared ? 0 : disk_image_lock(fd, shared, err);
    if (r < 0)
        return r;
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

/* For file systems that have no fallocate: one byte of each block is written as it is.
 * Nobody else writes to the image. */
static int
work_allocate_by_hand(int fd, uint64_t begin, uint64_t end)
{
    const uint64_t block = 4096;

    for (uint64_t at = begin; at < end; at = (at / block + 1) * block) {
        uint8_t byte = 0;

        if (pread(fd, &byte, 1, (off_t)at) < 0 || pwrite(fd, &byte, 1, (off_t)at) != 1)
            return -errno;
    }
    return ftruncate(fd, (off_t)end) < 0 ? -errno : 0;
}

int
work_allocate(int fd, uint64_t begin, uint64_t end, struct vmt_err *err)
{
    int r = 0;

    do {
        r = fallocate(fd, 0, (off_t)begin, (off_t)(end - begin)) < 0 ? -errno : 0;
    } while (r == -EINTR);
    if (r == -EOPNOTSUPP)
        r = work_allocate_by_hand(fd, begin, end);
    return r < 0 ? vmt_err_set(err, -r, "allocate %llu bytes",
                               (unsigned long long)(end - begin))
                 : 0;
}

int
work_describe(int fd, struct outcome *ret_outcome, struct vmt_err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "look at the image");
    ret_outcome->size = (uint64_t)st.st_size;
    ret_outcome->allocated = (uint64_t)st.st_blocks * 512;
    return 0;
}

int
work_clean(struct work *work, struct outcome *ret_outcome, struct vmt_err *err)
{
    unsigned removed = 0;
    int r = disk_place_clean(&work->place, &removed, err);

    (void)ret_outcome;
    if (r == 0 && removed)
        vmt_log_info("removed %u temporary files", removed);
    return r;
}
