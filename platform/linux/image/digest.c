/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/image/image_internal.h"

#define DIGEST_CHUNK (256 * 1024)

VMT_DEFINE_FREEP(EVP_MD_CTX, EVP_MD_CTX_free)

static int
digest_new(EVP_MD_CTX **ret_ctx, struct vmt_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        return vmt_err_setx(err, ENOMEM, "cannot set up SHA-256");
    }
    *ret_ctx = ctx;
    return 0;
}

static int
digest_finish(EVP_MD_CTX *ctx, char ret_hex[IMAGE_DIGEST_HEX], struct vmt_err *err)
{
    uint8_t raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (EVP_DigestFinal_ex(ctx, raw, &len) != 1 || len != (IMAGE_DIGEST_HEX - 1) / 2)
        return vmt_err_setx(err, EIO, "cannot finish SHA-256");
    vmt_hex_encode(ret_hex, raw, len);
    return 0;
}

int
image_digest_fd(int fd, char ret_hex[IMAGE_DIGEST_HEX], struct vmt_err *err)
{
    VMT_CLEANUP(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = NULL;
    VMT_CLEANUP(vmt_freep) uint8_t *chunk = malloc(DIGEST_CHUNK);
    int r;

    if (!chunk)
        return vmt_err_set(err, ENOMEM, "read for digest");
    r = digest_new(&ctx, err);
    if (r < 0)
        return r;
    for (;;) {
        ssize_t n = read(fd, chunk, DIGEST_CHUNK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmt_err_set(err, errno, "read for digest");
        if (n == 0)
            return digest_finish(ctx, ret_hex, err);
        if (EVP_DigestUpdate(ctx, chunk, (size_t)n) != 1)
            return vmt_err_setx(err, EIO, "cannot compute SHA-256");
    }
}

int
image_digest_file(const char *path, char ret_hex[IMAGE_DIGEST_HEX], struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return vmt_err_set(err, errno, "open %s", path);
    return image_digest_fd(fd, ret_hex, err);
}

int
image_digest_text(const char *text, size_t len, char ret_hex[IMAGE_DIGEST_HEX],
                  struct vmt_err *err)
{
    VMT_CLEANUP(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = NULL;
    int r = digest_new(&ctx, err);

    if (r < 0)
        return r;
    if (EVP_DigestUpdate(ctx, text, len) != 1)
        return vmt_err_setx(err, EIO, "cannot compute SHA-256");
    return digest_finish(ctx, ret_hex, err);
}
