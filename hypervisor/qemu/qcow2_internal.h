/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/qcow2_internal.h - what a qcow2 image asks QEMU to open besides itself.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct vmt_err;

/* Bytes of a header that qcow2_header_check looks at; a shorter file is no image. */
#define QCOW2_HEADER_SIZE 104

/* Refuse an image that names another file, as its backing file or for its data: QEMU
 * would open whatever name stands there with its own rights, which are not those of the
 * client who brought the image. header is the first QCOW2_HEADER_SIZE bytes. Returns 0,
 * or -EINVAL with a sentence that says what to do. Source: QEMU 7.2,
 * docs/interop/qcow2.txt, "Header": all numbers big-endian. */
int qcow2_header_check(const uint8_t *header, size_t len, struct vmt_err *err);

/* The same for an open image (path NULL), or for the one at path. */
int qcow2_check(int fd, const char *path, struct vmt_err *err);
