/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/compress_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "core/base/cleanup.h"

/* Added to windowBits: a gzip header and trailer instead of zlib's (zlib.h). */
#define GZIP_FORMAT 16

/* Deflate makes at most so many bytes out of one (zlib's own figure is 1032). */
#define RATIO_MAX 1032u

/* A window that is larger than the message is memory for nothing. 9 is the least that
 * deflate works with, 15 the most there is. */
#define WINDOW_BITS_MIN 9
#define WINDOW_BITS_MAX 15

enum rpc_encoding
rpc_encoding_parse(const uint8_t *value, size_t len)
{
    if (len == 4 && memcmp(value, "gzip", 4) == 0)
        return RPC_GZIP;
    if (len == 8 && memcmp(value, "identity", 8) == 0)
        return RPC_IDENTITY;
    return RPC_ENCODING_COUNT;
}

bool
rpc_encoding_offers_gzip(const uint8_t *value, size_t len)
{
    while (len > 0) {
        const uint8_t *comma = memchr(value, ',', len);
        size_t n = comma ? (size_t)(comma - value) : len;
        size_t next = comma ? n + 1 : n;
        const uint8_t *name = value;

        while (n > 0 && *name == ' ')
            name++, n--;
        while (n > 0 && name[n - 1] == ' ')
            n--;
        if (rpc_encoding_parse(name, n) == RPC_GZIP)
            return true;
        value += next;
        len -= next;
    }
    return false;
}

/* zlib's memory comes from our allocator, so that the tests can let it fail. */
static voidpf
zlib_alloc(voidpf opaque, uInt n, uInt size)
{
    (void)opaque;
    return malloc((size_t)n * size);
}

static void
zlib_free(voidpf opaque, voidpf address)
{
    (void)opaque;
    free(address);
}

static void
inflate_done(z_stream *z)
{
    (void)inflateEnd(z);
}

static void
deflate_done(z_stream *z)
{
    (void)deflateEnd(z);
}

/* The size that the last member's trailer claims, as far as it can be true. */
static size_t
gunzip_guess(const uint8_t *data, size_t len, size_t max)
{
    const uint8_t *p;
    size_t size;

    if (len < 4)
        return 0;
    p = data + len - 4;
    size = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (size > len * RATIO_MAX)
        size = len * RATIO_MAX;
    return size < max ? size : max;
}

/* Give inflate more room: one byte above max is enough to see that there is more. */
static int
gunzip_grow(z_stream *z, uint8_t **data, size_t *cap, size_t max)
{
    size_t used = *cap - z->avail_out;
    size_t want = *cap > max / 2 ? max + 1 : *cap * 2;
    uint8_t *grown;

    if (used > max)
        return -EMSGSIZE;
    grown = realloc(*data, want);
    if (!grown)
        return -ENOMEM;
    *data = grown;
    *cap = want;
    z->next_out = grown + used;
    z->avail_out = (uInt)(want - used);
    return 0;
}

/* Inflate all members. Returns 0 and what is in *data, or -errno. */
static int
gunzip_run(z_stream *z, uint8_t **data, size_t *cap, size_t max)
{
    for (;;) {
        /* Z_FINISH: what comes out at once needs no window (zlib.h, inflate). */
        int r = inflate(z, Z_FINISH);

        if (r == Z_STREAM_END) {
            if (*cap - z->avail_out > max)
                return -EMSGSIZE;
            if (z->avail_in == 0)
                return 0;
            r = inflateReset(z);
        } else if ((r == Z_OK || r == Z_BUF_ERROR) && z->avail_out == 0) {
            int error = gunzip_grow(z, data, cap, max);

            if (error < 0)
                return error;
            r = Z_OK;
        }
        if (r != Z_OK)
            return r == Z_MEM_ERROR ? -ENOMEM : -EILSEQ;
    }
}

int
rpc_gunzip(const uint8_t *data, size_t len, size_t max, uint8_t **ret_data,
           size_t *ret_len)
{
    VMT_CLEANUP(inflate_done)
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free, .next_in = data};
    size_t cap = gunzip_guess(data, len, max) + 1;
    VMT_CLEANUP(vmt_freep) uint8_t *out = NULL;
    int r = 0;

    *ret_len = 0;
    if (len > UINT_MAX || max >= UINT_MAX)
        return -EMSGSIZE;
    out = malloc(cap);
    if (!out || inflateInit2(&z, WINDOW_BITS_MAX + GZIP_FORMAT) != Z_OK)
        return -ENOMEM;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    if (len > 0)
        r = gunzip_run(&z, &out, &cap, max);
    *ret_len = cap - z.avail_out;
    if (r < 0)
        return r;
    *ret_data = vmt_take_ptr(&out);
    return 0;
}

ssize_t
rpc_gzip(const uint8_t *data, size_t len, uint8_t *out, size_t size)
{
    VMT_CLEANUP(deflate_done)
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free, .next_in = data};
    int bits = WINDOW_BITS_MIN;

    while (bits < WINDOW_BITS_MAX && (size_t)1 << bits < len)
        bits++;
    /* memLevel is to the hash table what windowBits is to the window: 8 goes with 15 by
     * default. */
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, bits + GZIP_FORMAT, bits - 7,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    if (len > UINT_MAX)
        return 0;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)(size < UINT_MAX ? size : UINT_MAX);
    if (deflate(&z, Z_FINISH) != Z_STREAM_END)
        return 0;
    return (ssize_t)z.total_out;
}
