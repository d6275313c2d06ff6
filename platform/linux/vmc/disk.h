/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/disk.h - what the verbs of vmc disk share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "platform/linux/vmc/vmc.h"

/* Strings are borrowed from the command line. */
struct disk_options {
    uint64_t size;          /* bytes; 0: not said */
    const char *format;     /* "raw" or "qcow2" */
    const char *filesystem; /* "ext4", "btrfs" or "" */
    const char *sha256;     /* file for the digest, or NULL */
    int vm_type;            /* VmInfo.VmType */
    bool preallocate, ballooning, force;
    bool yes; /* do not ask */
};

typedef int disk_verb_fn(struct vmc *vmc, const struct disk_options *o, char **operands,
                         size_t n, struct vmt_err *err);

/* "10G" and the like: a number with K, M, G or T of 1024. Returns 0 or -EINVAL. */
int disk_parse_size(const char *text, uint64_t *ret_bytes, struct vmt_err *err);

/* cmd_disk_images.c */
disk_verb_fn disk_create_run, disk_list_run, disk_destroy_run, disk_rename_run;
/* cmd_disk_move.c */
disk_verb_fn disk_resize_run, disk_export_run, disk_import_run, disk_cancel_run,
    disk_status_run;

/* Path and state of one disk of the owner by its name. *ret_path is malloc'ed. Returns 0,
 * -ENOENT, or as vmc_call. */
int disk_path_get(struct vmc *vmc, const char *name, char **ret_path,
                  struct vmt_err *err);

/* What a DiskImageStatus means: 0 for a good end, -EINPROGRESS, else -errno with words.
 * why is what the daemon said. */
int disk_status_error(int status, const char *why, struct vmt_err *err);
const char *disk_status_name(int status);
