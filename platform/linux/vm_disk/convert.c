/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/convert.c - a copy of an image, also in another format. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/disk/attrs.h"
#include "platform/linux/vm_disk/qemu_img.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/work.h"

/* Share the blocks, or copy those that are there. */
static int
convert_copy(int from_fd, int to_fd, uint64_t size, struct vmt_err *err)
{
    struct sink sink = {.fd = to_fd, .max = UINT64_MAX};
    int r;

    if (ioctl(to_fd, FICLONE, from_fd) == 0)
        return 0;
    r = sink_copy(&sink, from_fd, size, err);
    return r < 0 ? r : sink_finish(&sink, err);
}

static int
convert_content(const struct work *work, int from_fd, struct work *out,
                struct outcome *ret_outcome, struct vmt_err *err)
{
    const struct options *opt = work->opt;
    uint64_t size = 0;
    int r = work_describe(from_fd, ret_outcome, err);

    if (r == 0 && opt->format == DISK_QCOW2)
        r = qemu_img_check(from_fd, &size, err);
    if (r == 0)
        r = work_temp(out, err);
    if (r == 0 && opt->format == opt->output_format)
        r = convert_copy(from_fd, out->temp.fd, ret_outcome->size, err);
    else if (r == 0)
        r = qemu_img_convert(from_fd, opt->format, out->temp.fd, opt->output_format,
                             opt->sandbox, err);
    if (opt->format == DISK_RAW)
        size = ret_outcome->size;
    if (r == 0)
        r = work_describe(out->temp.fd, ret_outcome, err);
    ret_outcome->size = size;
    return r;
}

int
work_convert(struct work *work, struct outcome *ret_outcome, struct vmt_err *err)
{
    struct options opt = *work->opt; /* borrows its lists */
    VMT_CLEANUP(vmt_closep) int fd = -1;
    VMT_CLEANUP(work_done)
    struct work out = {.place = {.dir_fd = -1, .lock_fd = -1}, .temp = {.fd = -1}};
    struct disk_attrs attrs = {.vm_type = DISK_VM_TYPE_UNKNOWN};
    int r = work_open_image(work, O_RDONLY, true, &fd, err);

    opt.image = opt.output;
    if (r == 0)
        r = work_init(&out, &opt, err);
    if (r == 0)
        r = work_check_missing(&out, err);
    if (r == 0)
        r = disk_attrs_read(work->place.dir_fd, work->place.name, fd, &attrs, err);
    if (r == 0)
        r = convert_content(work, fd, &out, ret_outcome, err);
    if (r == 0)
        r = work_place(&out, attrs.user_chosen_size || opt.user_chosen_size,
                       opt.vm_type >= 0 ? opt.vm_type : attrs.vm_type, false, err);
    ret_outcome->format = opt.output_format;
    ret_outcome->vm_type = opt.vm_type >= 0 ? opt.vm_type : attrs.vm_type;
    return r;
}
