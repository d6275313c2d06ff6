/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/unpack.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/disk/qcow2.h"
#include "core/disk/seekable.h"
#include "core/disk/superblock.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/source.h"

int
unpack_detect(struct source *source, enum source_kind *ret_kind, struct vmt_err *err)
{
    ssize_t n = source_peek(source, DISK_PROBE_BYTES, err);
    const uint8_t *data = source->buf.data;
    struct disk_probe probe;

    if (n < 0)
        return (int)n;
    if (n < 4)
        return vmt_err_setx(err, EBADMSG, "there are fewer than 4 bytes to import");
    disk_probe(data, (size_t)n, &probe);
    if (disk_frame_kind(data) != DISK_FRAME_UNKNOWN)
        *ret_kind = SOURCE_ZSTD;
    else if (memcmp(data, "PK\x03\x04", 4) == 0)
        *ret_kind = SOURCE_ZIP;
    else if (disk_is_qcow2(data, (size_t)n))
        *ret_kind = SOURCE_QCOW2;
    else
        *ret_kind = probe.content != DISK_CONTENT_UNKNOWN ? SOURCE_RAW : SOURCE_AUTO;
    return 0;
}

int
unpack_raw(struct source *source, struct sink *sink, struct vmt_err *err)
{
    ssize_t n;
    int r = 0;

    while (r == 0 && (n = source_peek(source, 1, err)) != 0) {
        if (n < 0)
            return (int)n;
        r = sink_write(sink, source->buf.data, (size_t)n, err);
        source_consume(source, (size_t)n);
    }
    return r;
}
