/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/sha256.h - the digest of what goes by. */
#pragma once

#include <stddef.h>

struct sha256;
struct vmt_err;

int sha256_new(struct sha256 **ret_sha, struct vmt_err *err);
void sha256_free(struct sha256 *sha);
int sha256_add(struct sha256 *sha, const void *data, size_t len, struct vmt_err *err);
/* In lower-case digits, with a NUL. Once, at the end. */
int sha256_finish(struct sha256 *sha, char ret_hex[65], struct vmt_err *err);
