/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/pack_out.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/seekable.h"
#include "platform/linux/vm_disk/sha256.h"

/* A pipe's reader gets whole pages at once. */
#define WRITE_BYTES (256u * 1024)

/* Holes make millions of equal frames: they are remembered as one. */
struct pack_run {
    uint32_t len, plain, count;
};

int
pack_out_init(struct pack_out *out, int fd, struct vmt_err *err)
{
    *out = (struct pack_out){.fd = fd};
    return sha256_new(&out->sha, err);
}

void
pack_out_done(struct pack_out *out)
{
    sha256_free(out->sha);
    vmt_buf_done(&out->buf);
    vmt_buf_done(&out->runs);
}

static int
pack_out_flush(struct pack_out *out, struct vmt_err *err)
{
    struct pollfd poller = {.fd = out->fd, .events = POLLOUT};
    int r = sha256_add(out->sha, out->buf.data, out->buf.len, err);

    while (r == 0 && out->buf.len > 0) {
        ssize_t n = write(out->fd, out->buf.data, out->buf.len);

        if (n >= 0)
            vmt_buf_consume(&out->buf, (size_t)n);
        else if (errno == EAGAIN)
            (void)poll(&poller, 1, -1);
        else if (errno != EINTR)
            return vmt_err_set(err, errno, "write the exported bytes");
    }
    return r;
}

static int
pack_out_write(struct pack_out *out, const void *data, size_t len, struct vmt_err *err)
{
    if (vmt_buf_append(&out->buf, data, len) < 0)
        return vmt_err_set(err, ENOMEM, "export");
    return out->buf.len >= WRITE_BYTES ? pack_out_flush(out, err) : 0;
}

static int
pack_out_remember(struct pack_out *out, const struct pack_run *run, struct vmt_err *err)
{
    const size_t size = sizeof(*run);
    struct pack_run *last = NULL;

    if (run->count > DISK_SEEK_FRAMES_MAX - out->frames)
        return vmt_err_setx(err, EFBIG, "the disk is too large for one export");
    out->frames += run->count;
    if (out->runs.len >= size)
        last = (struct pack_run *)(void *)(out->runs.data + out->runs.len - size);
    if (last && last->len == run->len && last->plain == run->plain) {
        last->count += run->count;
        return 0;
    }
    if (vmt_buf_append(&out->runs, run, size) < 0)
        return vmt_err_set(err, ENOMEM, "export");
    return 0;
}

int
pack_out_frames(struct pack_out *out, const void *frame, uint32_t len, uint32_t plain,
                uint32_t count, struct vmt_err *err)
{
    const struct pack_run run = {len, plain, count};
    int r = pack_out_remember(out, &run, err);

    for (uint32_t i = 0; r == 0 && i < count; i++)
        r = pack_out_write(out, frame, len, err);
    return r;
}

int
pack_out_finish(struct pack_out *out, char ret_sha256[65], struct vmt_err *err)
{
    uint8_t header[DISK_SKIPPABLE_HEADER], entry[DISK_SEEK_ENTRY];
    uint8_t footer[DISK_SEEK_FOOTER];
    int r;

    disk_seek_header_encode(out->frames, header);
    disk_seek_footer_encode(out->frames, footer);
    r = pack_out_write(out, header, sizeof(header), err);
    while (r == 0 && out->runs.len > 0) {
        const struct pack_run run = *(struct pack_run *)(void *)out->runs.data;

        disk_seek_entry_encode(run.len, run.plain, entry);
        for (uint32_t i = 0; r == 0 && i < run.count; i++)
            r = pack_out_write(out, entry, sizeof(entry), err);
        vmt_buf_consume(&out->runs, sizeof(run));
    }
    if (r == 0)
        r = pack_out_write(out, footer, sizeof(footer), err);
    if (r == 0)
        r = pack_out_flush(out, err);
    return r < 0 ? r : sha256_finish(out->sha, ret_sha256, err);
}
