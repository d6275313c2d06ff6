/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

#define SHA256_BYTES 32u

struct sha256 {
    EVP_MD_CTX *ctx; /* owned */
};

VMT_DEFINE_FREEP(struct sha256, sha256_free)

int
sha256_new(struct sha256 **ret_sha, struct vmt_err *err)
{
    VMT_CLEANUP(sha256_freep) struct sha256 *sha = calloc(1, sizeof(*sha));

    if (sha)
        sha->ctx = EVP_MD_CTX_new();
    if (!sha || !sha->ctx || EVP_DigestInit_ex(sha->ctx, EVP_sha256(), NULL) != 1)
        return vmt_err_setx(err, ENOMEM, "cannot set up SHA-256");
    *ret_sha = vmt_take_ptr(&sha);
    return 0;
}

void
sha256_free(struct sha256 *sha)
{
    if (!sha)
        return;
    EVP_MD_CTX_free(sha->ctx);
    free(sha);
}

int
sha256_add(struct sha256 *sha, const void *data, size_t len, struct vmt_err *err)
{
    if (EVP_DigestUpdate(sha->ctx, data, len) != 1)
        return vmt_err_setx(err, EIO, "cannot compute SHA-256");
    return 0;
}

int
sha256_finish(struct sha256 *sha, char ret_hex[65], struct vmt_err *err)
{
    uint8_t raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (EVP_DigestFinal_ex(sha->ctx, raw, &len) != 1 || len != SHA256_BYTES)
        return vmt_err_setx(err, EIO, "cannot finish SHA-256");
    vmt_hex_encode(ret_hex, raw, len);
    return 0;
}
