/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/export.c - an image to a file, a pipe or a socket. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/disk/attrs.h"
#include "platform/linux/vm_disk/jail.h"
#include "platform/linux/vm_disk/pack.h"
#include "platform/linux/vm_disk/qemu_img.h"
#include "platform/linux/vm_disk/work.h"

static int
export_jailed(void *arg, struct jail_answer *answer, struct vmt_err *err)
{
    return pack_run(arg, answer->text, err);
}

static unsigned
export_threads(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);

    return n < 1 ? 1 : n > (int)PACK_THREADS_MAX ? PACK_THREADS_MAX : (unsigned)n;
}

/* In upper case, as the original has it. */
static int
export_digest(int fd, const char *sha256, struct vmt_err *err)
{
    char line[SHA256_HEX];

    for (unsigned i = 0; i < SHA256_HEX - 1; i++)
        line[i] = (char)toupper((unsigned char)sha256[i]);
    line[SHA256_HEX - 1] = '\n';
    if (write(fd, line, sizeof(line)) != (ssize_t)sizeof(line))
        return vmt_err_set(err, errno ? errno : EIO, "write the digest");
    return 0;
}

/* What a longer file had behind would hide the seek table, which is the end. */
static int
export_end(int fd, struct vmt_err *err)
{
    struct stat st;
    off_t end;

    /* A pipe has no end, and nothing to be synced. */
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    end = lseek(fd, 0, SEEK_CUR);
    if (end < 0 || (end < st.st_size && ftruncate(fd, end) < 0) || fsync(fd) < 0)
        return vmt_err_set(err, errno, "write the exported bytes to the disk");
    return 0;
}

static int
export_run(struct work *work, int from_fd, struct outcome *ret_outcome,
           struct vmt_err *err)
{
    const struct options *opt = work->opt;
    struct pack pack = {.from_fd = from_fd,
                        .to_fd = opt->data_fd,
                        .vm_type = ret_outcome->vm_type,
                        .threads = export_threads(),
                        .size = ret_outcome->size,
                        .max_rate = opt->max_rate};
    const struct jail jail = {{from_fd, opt->data_fd}, 2, opt->sandbox};
    struct jail_answer answer;
    int r = jail_run(&jail, export_jailed, &pack, &answer, err);

    if (r < 0)
        return r;
    (void)memcpy(ret_outcome->sha256, answer.text, sizeof(answer.text));
    r = export_end(opt->data_fd, err);
    if (r < 0)
        return r;
    return opt->digest_fd < 0 ? 0
                              : export_digest(opt->digest_fd, ret_outcome->sha256, err);
}

/* What is read for a qcow2 image: its content, raw, in work->temp. qemu-img does that
 * conversion whole and knows the holes; to read through a server of its own would need a
 * second protocol here. It costs the space that the image has. */
static int
export_flatten(struct work *work, int fd, int *ret_from, struct vmt_err *err)
{
    int r = work_temp(work, err);

    if (r == 0)
        r = qemu_img_convert(fd, DISK_QCOW2, work->temp.fd, DISK_RAW, work->opt->sandbox,
                             err);
    *ret_from = work->temp.fd;
    return r;
}

int
work_export(struct work *work, struct outcome *ret_outcome, struct vmt_err *err)
{
    const struct options *opt = work->opt;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct disk_attrs attrs = {.vm_type = DISK_VM_TYPE_UNKNOWN};
    int from, r = work_open_image(work, O_RDONLY, true, &fd, err);

    from = fd;
    if (r == 0)
        r = disk_attrs_read(work->place.dir_fd, work->place.name, fd, &attrs, err);
    if (r == 0 && opt->format == DISK_QCOW2)
        r = export_flatten(work, fd, &from, err);
    if (r == 0)
        r = work_describe(from, ret_outcome, err);
    if (r < 0)
        return r;
    ret_outcome->vm_type = opt->vm_type >= 0 ? opt->vm_type : attrs.vm_type;
    (void)posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
    return export_run(work, from, ret_outcome, err);
}
