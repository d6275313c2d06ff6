/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/format.h - what is on a disk, and a file system on one that
 * is empty. All of it reads the disk: for workers. */
#pragma once

struct vmt_err;

#define FORMAT_TYPE_MAX 32
/* A plugged disk may come after the call that wants it. */
#define FORMAT_WAIT_MS 2000

/* Wait until a device of /dev is there; other paths, and a device that does not come, are
 * for who opens them. */
void format_await_device(const char *device);

/* Name of the file system or the like that begins the disk, "" if none is known. Returns
 * 0 or -errno. */
int format_probe(const char *device, char type[FORMAT_TYPE_MAX], struct vmt_err *err);

/* Make a file system with mkfs.<type> and wait for it. Nothing is asked and nothing
 * overwritten: mkfs programs refuse a disk that is in use. Returns 0; -ENOENT: there is
 * no such program; -EIO: it failed; -errno. */
int format_make(const char *type, const char *device, struct vmt_err *err);
