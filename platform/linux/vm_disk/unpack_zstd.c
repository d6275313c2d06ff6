/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/unpack_zstd.c - zstd frames one after another, from a pipe: what
 * the original finds by seeking from the end is collected on the way. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zstd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/attrs.h"
#include "core/disk/seekable.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/source.h"
#include "platform/linux/vm_disk/unpack.h"

/* What zstd itself takes without being asked: 128 MiB of memory. */
#define WINDOW_LOG_MAX 27

struct unzstd {
    struct source *source; /* borrowed */
    struct sink *sink;     /* borrowed */
    ZSTD_DCtx *ctx;        /* owned */
    uint8_t *out;          /* owned */
    size_t out_size;
    struct disk_frames data, all; /* all: with frames that were skipped */
    uint64_t metadata_at;         /* where the last metadata frame began */
    int vm_type;                  /* of that */
    bool small_frames;            /* the first has exactly DISK_FRAME_BYTES */
    bool table;                   /* a seek table was the last frame */
};

static void
unzstd_done(struct unzstd *z)
{
    (void)ZSTD_freeDCtx(z->ctx);
    free(z->out);
}

static int
unzstd_init(struct unzstd *z, struct vmt_err *err)
{
    z->ctx = ZSTD_createDCtx();
    z->out_size = ZSTD_DStreamOutSize();
    z->out = malloc(z->out_size);
    if (!z->ctx || !z->out)
        return vmt_err_set(err, ENOMEM, "set up zstd");
    if (ZSTD_isError(ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        return vmt_err_setx(err, EIO, "cannot set up zstd");
    return 0;
}

static int
unzstd_short(struct vmt_err *err)
{
    return vmt_err_setx(err, EIO, "the zstd data is cut short");
}

/* One step: give zstd what is there. Returns 1 at the end of the frame, 0, or -errno. */
static int
unzstd_step(struct unzstd *z, struct vmt_err *err)
{
    ssize_t n = source_peek(z->source, 1, err);
    ZSTD_inBuffer in = {z->source->buf.data, n > 0 ? (size_t)n : 0, 0};
    ZSTD_outBuffer out = {z->out, z->out_size, 0};
    size_t left;
    int r;

    if (n < 0)
        return (int)n;
    left = ZSTD_decompressStream(z->ctx, &out, &in);
    if (ZSTD_isError(left))
        return vmt_err_setx(err, EIO, "bad zstd data: %s", ZSTD_getErrorName(left));
    /* Nothing comes in and nothing goes out: it waits for what will not come. */
    if (n == 0 && out.pos == 0 && left != 0)
        return unzstd_short(err);
    source_consume(z->source, in.pos);
    r = sink_write(z->sink, z->out, out.pos, err);
    return r < 0 ? r : left == 0;
}

static int
unzstd_data(struct unzstd *z, struct vmt_err *err)
{
    const uint64_t in = z->source->taken, out = z->sink->at;
    uint64_t plain;
    int r;

    while ((r = unzstd_step(z, err)) == 0) {
    }
    if (r < 0)
        return r;
    plain = z->sink->at - out;
    if (z->data.n == 0)
        z->small_frames = plain == DISK_FRAME_BYTES;
    disk_frames_add(&z->data, (uint32_t)(z->source->taken - in), (uint32_t)plain);
    disk_frames_add(&z->all, (uint32_t)(z->source->taken - in), (uint32_t)plain);
    return 0;
}

/* The next len bytes are content of a skippable frame: keep those that fit. */
static int
unzstd_content(struct unzstd *z, uint32_t len, struct disk_seek_reader *reader,
               struct vmt_err *err)
{
    while (len > 0) {
        ssize_t n = source_peek(z->source, 1, err);

        if (n <= 0)
            return n < 0 ? (int)n : unzstd_short(err);
        if ((uint64_t)n > len)
            n = len;
        if (reader)
            disk_seek_reader_feed(reader, z->source->buf.data, (size_t)n);
        source_consume(z->source, (size_t)n);
        len -= (uint32_t)n;
    }
    return 0;
}

static int
unzstd_metadata(struct unzstd *z, uint32_t len, struct vmt_err *err)
{
    ssize_t n;

    z->metadata_at = z->source->taken - DISK_SKIPPABLE_HEADER;
    z->vm_type = DISK_VM_TYPE_UNKNOWN;
    if (len <= DISK_METADATA_MAX) {
        n = source_peek(z->source, len, err);
        if (n < 0)
            return (int)n;
        if ((size_t)n >= len)
            z->vm_type = disk_metadata_decode(z->source->buf.data, len);
    }
    return unzstd_content(z, len, NULL, err);
}

/* The table lists all frames before it; some writers leave out those that are skipped. */
static int
unzstd_table(struct unzstd *z, uint32_t len, struct vmt_err *err)
{
    const uint64_t at = z->source->taken - DISK_SKIPPABLE_HEADER;
    struct disk_seek_reader reader;
    struct disk_frames listed;
    int r;

    if (at - z->metadata_at > DISK_METADATA_REACH)
        z->vm_type = DISK_VM_TYPE_UNKNOWN;
    disk_seek_reader_init(&reader, len);
    r = unzstd_content(z, len, &reader, err);
    if (r < 0)
        return r;
    if (disk_seek_reader_finish(&reader, &listed) < 0)
        return vmt_err_setx(err, EIO, "the seek table is damaged");
    if (!disk_frames_equal(&listed, &z->all) && !disk_frames_equal(&listed, &z->data))
        return vmt_err_setx(err, EIO, "the seek table is not that of these frames");
    z->table = true;
    return 0;
}

static int
unzstd_skippable(struct unzstd *z, enum disk_frame_kind kind, struct vmt_err *err)
{
    ssize_t n = source_peek(z->source, DISK_SKIPPABLE_HEADER, err);
    uint32_t len;
    int r;

    if (n < (ssize_t)DISK_SKIPPABLE_HEADER)
        return n < 0 ? (int)n : unzstd_short(err);
    len = disk_le32(z->source->buf.data + 4);
    source_consume(z->source, DISK_SKIPPABLE_HEADER);
    if (kind == DISK_FRAME_SEEK_TABLE)
        return unzstd_table(z, len, err);
    r = kind == DISK_FRAME_METADATA ? unzstd_metadata(z, len, err)
                                    : unzstd_content(z, len, NULL, err);
    if (r == 0)
        disk_frames_add(&z->all, len + DISK_SKIPPABLE_HEADER, 0);
    return r;
}

static int
unzstd_frame(struct unzstd *z, size_t there, struct vmt_err *err)
{
    enum disk_frame_kind kind;

    if (there < 4)
        return unzstd_short(err);
    if (z->table)
        return vmt_err_setx(err, EIO, "there are bytes after the seek table");
    kind = disk_frame_kind(z->source->buf.data);
    if (kind == DISK_FRAME_UNKNOWN)
        return vmt_err_setx(err, EIO, "bad zstd data: not a frame");
    return kind == DISK_FRAME_DATA ? unzstd_data(z, err) : unzstd_skippable(z, kind, err);
}

int
unpack_zstd(struct source *source, struct sink *sink, int *ret_vm_type,
            struct vmt_err *err)
{
    VMT_CLEANUP(unzstd_done)
    struct unzstd z = {.source = source, .sink = sink, .vm_type = DISK_VM_TYPE_UNKNOWN};
    int r = unzstd_init(&z, err);
    ssize_t n = 0;

    while (r == 0 && (n = source_peek(source, 4, err)) > 0)
        r = unzstd_frame(&z, (size_t)n, err);
    if (r < 0 || n < 0)
        return r < 0 ? r : (int)n;
    /* Cut between two frames, an export would be a shorter disk without a word. */
    if (z.small_frames && z.data.n > 1 && !z.table)
        return vmt_err_setx(err, EIO, "the seek table is missing: cut short");
    *ret_vm_type = z.vm_type;
    return 0;
}
