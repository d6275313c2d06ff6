/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/unpack.h - take the disk out of what is imported. The bytes are
 * a stranger's. */
#pragma once

#include "platform/linux/vm_disk/options.h"

struct sink;
struct source;
struct vmt_err;

/* What the first bytes look like; SOURCE_AUTO when they look like nothing that is known.
 * -EBADMSG: fewer than 4 bytes. */
int unpack_detect(struct source *source, enum source_kind *ret_kind, struct vmt_err *err);

/* To the end of the source. *ret_vm_type: what a metadata frame tells, or
 * DISK_VM_TYPE_UNKNOWN. Returns 0; -EIO for what is no valid zstd, is cut short, or has a
 * seek table that does not fit; what sink_write says. */
int unpack_zstd(struct source *source, struct sink *sink, int *ret_vm_type,
                struct vmt_err *err);

/* The one entry, which must be a file of that name. Returns 0; -EBADMSG: no zip; -EIO for
 * anything else about it; what sink_write says. */
int unpack_zip(struct source *source, struct sink *sink, const char *name,
               struct vmt_err *err);

/* The bytes as they are. */
int unpack_raw(struct source *source, struct sink *sink, struct vmt_err *err);
