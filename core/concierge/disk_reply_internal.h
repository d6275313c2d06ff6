/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_reply_internal.h - what the disk methods share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/disk/name.h"

struct concierge;
struct concierge_vm;
struct disk_job;
struct ipc_call;
struct plan_image;
struct vm_id;
struct vmt_argv;
struct vmt_err;

/* What an answer says. */
struct disk_answer {
    int status;             /* VmTools__Concierge__DiskImageStatus */
    const char *why;        /* borrowed; NULL: nothing failed */
    const struct vm_id *id; /* borrowed; NULL: names no image */
    enum disk_kind image;
};

/* While the daemon shuts down, nothing begins: then the call has been failed. */
bool disk_is_leaving(struct concierge *c, struct ipc_call *call);
void disk_close_fds(struct concierge *c, int *fds, size_t n);

/* Add the options that name the image of a job; its directory is made if missing. */
int disk_add_image(struct disk_job *job, struct vmt_argv *args, struct vmt_err *err);

/* VmInfo.VmType to the number of the attribute (vm_tools.apps.VmType), and back. */
int disk_apps_type(int vm_type);
int disk_vm_type(int apps_type);

/* The VM that has an image as its disk, and how, or NULL; *ret_use may be NULL. */
struct concierge_vm *disk_user(struct concierge *c, const char *owner, const char *file,
                               const struct plan_image **ret_use);
/* The same by the name of the image, of any format; a VM of that very name counts, too,
 * whatever it has. */
struct concierge_vm *disk_user_of_id(struct concierge *c, const struct vm_id *id);
