/* SPDX-License-Identifier: BSD-3-Clause */
/* What somebody wants to import, as vm_disk's jail reads it: zstd, zip, or whatever its
 * first bytes say. The first byte of the input says which, and in what pieces it comes.
 */
#include <assert.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/source.h"
#include "platform/linux/vm_disk/unpack.h"
#include "tests/fuzz/fuzz.h"

/* Enough for every path, and soon reached. */
#define DISK_MAX (16ull << 20)

struct feed {
    const uint8_t *data;
    size_t len, piece;
};

static ssize_t
feed_read(void *arg, uint8_t *data, size_t len)
{
    struct feed *feed = arg;
    size_t n = len < feed->piece ? len : feed->piece;

    if (n > feed->len)
        n = feed->len;
    if (n)
        memcpy(data, feed->data, n);
    feed->data += n;
    feed->len -= n;
    return (ssize_t)n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = {data + 1, size - 1, 0};
    VMT_CLEANUP(source_done)
    struct source source = {.read = feed_read, .arg = &feed};
    struct sink sink = {.fd = -1, .max = DISK_MAX};
    enum source_kind kind = SOURCE_AUTO;
    int type = -1, r = 0;

    if (size < 1)
        return 0;
    feed.piece = 1u + (data[0] >> 2) * 61u;
    switch (data[0] & 3) {
    case 0:
        r = unpack_zstd(&source, &sink, &type, NULL);
        break;
    case 1:
        r = unpack_zip(&source, &sink, "b.img", NULL);
        break;
    case 2:
        r = unpack_raw(&source, &sink, NULL);
        break;
    default:
        r = unpack_detect(&source, &kind, NULL);
        break;
    }
    assert(r <= 0 && sink.at <= DISK_MAX && type >= -1 && type <= 99);
    return 0;
}
