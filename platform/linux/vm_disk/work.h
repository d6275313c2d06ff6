/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/work.h - one operation: its place, its temporary, its commands.
 */
#pragma once

#include "platform/linux/disk/place.h"
#include "platform/linux/vm_disk/options.h"
#include "platform/linux/vm_disk/report.h"

struct vmt_err;

struct work {
    const struct options *opt; /* borrowed */
    struct disk_place place;   /* locked */
    struct disk_temp temp;     /* fd -1: none */
};

/* Find and lock the place of the image. */
int work_init(struct work *work, const struct options *opt, struct vmt_err *err);
void work_done(struct work *work);

/* Make work->temp; a signal to end removes it. */
int work_temp(struct work *work, struct vmt_err *err);

/* Another temporary in place of the one that is there, of which only the open file stays,
 * in *ret_old, the caller's. */
int work_temp_again(struct work *work, int *ret_old, struct vmt_err *err);

/* -EEXIST when the image is there. */
int work_check_missing(const struct work *work, struct vmt_err *err);

/* Note the attributes and give the temporary the name of the image; from here on a signal
 * to end comes too late. */
int work_place(struct work *work, bool user_chosen_size, int vm_type, bool replace,
               struct vmt_err *err);

/* Open the image, a regular file, with flags of open(2), and lock it against VMs.
 * -ENOENT: it is missing. */
int work_open_image(const struct work *work, int flags, bool shared, int *ret_fd,
                    struct vmt_err *err);

/* Allocate every block of the bytes from begin to end, which become part of the file.
 * What is there stays. */
int work_allocate(int fd, uint64_t begin, uint64_t end, struct vmt_err *err);

/* What is to be told about a raw image that is open. */
int work_describe(int fd, struct outcome *ret_outcome, struct vmt_err *err);

/* The commands. Each fills the outcome; errors carry the codes of report_code. */
int work_create(struct work *work, struct outcome *ret_outcome, struct vmt_err *err);
int work_resize(struct work *work, struct outcome *ret_outcome, struct vmt_err *err);
int work_export(struct work *work, struct outcome *ret_outcome, struct vmt_err *err);
int work_import(struct work *work, struct outcome *ret_outcome, struct vmt_err *err);
int work_convert(struct work *work, struct outcome *ret_outcome, struct vmt_err *err);
int work_clean(struct work *work, struct outcome *ret_outcome, struct vmt_err *err);
