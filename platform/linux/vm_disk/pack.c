/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/pack.c - the disk in pieces through a ring: this thread reads
 * and writes them in order, others compress. */
#include "platform/linux/vm_disk/pack.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/attrs.h"
#include "core/disk/seekable.h"
#include "platform/linux/vm_disk/jail.h"
#include "platform/linux/vm_disk/pace.h"
#include "platform/linux/vm_disk/pack_out.h"
#include "platform/linux/vm_disk/sink.h"

#define PIECE_FRAMES 8u
#define PIECE_BYTES (PIECE_FRAMES * DISK_FRAME_BYTES)
#define PIECES 8u /* in the ring: two threads never wait for a slow disk's next read */

enum piece_state { PIECE_FREE, PIECE_FULL, PIECE_TAKEN, PIECE_DONE };

/* A piece of the disk: bytes in len and plain, or a hole of whole frames. */
struct piece {
    enum piece_state state;
    uint32_t hole; /* frames, 0: bytes */
    size_t len;
    uint8_t *plain, *packed; /* owned */
    uint32_t packed_len[PIECE_FRAMES];
    int r; /* 0, or how compressing failed */
};

struct packer {
    const struct pack *pack; /* borrowed */
    struct pack_out out;
    struct pace pace;
    struct piece pieces[PIECES];
    unsigned head, tail; /* next to fill; oldest that is not written. Of PIECES */
    unsigned used;
    uint64_t read_at, written_at; /* bytes of the disk */
    uint64_t data_at, hole_at;    /* the next data from read_at, and its end */
    uint8_t *zero;                /* owned: a frame of zeros, compressed */
    uint32_t zero_len;
    size_t bound;
    pthread_mutex_t lock; /* of state of the pieces, and stop */
    pthread_cond_t full, done;
    bool stop;
    pthread_t threads[PACK_THREADS_MAX];
    unsigned started;
};

/* Frames that a hole or a file full of zeros gives are the same as any other. */
static int
frame_compress(ZSTD_CCtx *ctx, const struct packer *p, struct piece *piece, unsigned i)
{
    const size_t at = (size_t)i * DISK_FRAME_BYTES;
    const size_t left = piece->len - at;
    const size_t len = left < DISK_FRAME_BYTES ? left : DISK_FRAME_BYTES;
    uint8_t *to = piece->packed + i * p->bound;
    size_t n;

    if (p->zero && len == DISK_FRAME_BYTES && sink_is_zero(piece->plain + at, len)) {
        memcpy(to, p->zero, p->zero_len);
        piece->packed_len[i] = p->zero_len;
        return 0;
    }
    n = ZSTD_compress2(ctx, to, p->bound, piece->plain + at, len);
    if (ZSTD_isError(n))
        return -EIO;
    piece->packed_len[i] = (uint32_t)n;
    return 0;
}

static unsigned
piece_frames(const struct piece *piece)
{
    return (unsigned)((piece->len + DISK_FRAME_BYTES - 1) / DISK_FRAME_BYTES);
}

static ZSTD_CCtx *
frame_ctx_new(void)
{
    ZSTD_CCtx *ctx = ZSTD_createCCtx();

    if (ctx && ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel,
                                                   DISK_ZSTD_LEVEL))) {
        (void)ZSTD_freeCCtx(ctx);
        return NULL;
    }
    return ctx;
}

/* The oldest that waits for a thread, or NULL. Under the lock. */
static struct piece *
packer_find_full(struct packer *p)
{
    for (unsigned i = 0; i < p->used; i++) {
        struct piece *piece = &p->pieces[(p->tail + i) % PIECES];

        if (piece->state == PIECE_FULL)
            return piece;
    }
    return NULL;
}

static void *
packer_thread(void *arg)
{
    struct packer *p = arg;
    ZSTD_CCtx *ctx = frame_ctx_new();

    (void)pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        struct piece *piece = packer_find_full(p);

        if (!piece) {
            (void)pthread_cond_wait(&p->full, &p->lock);
            continue;
        }
        piece->state = PIECE_TAKEN;
        (void)pthread_mutex_unlock(&p->lock);
        piece->r = ctx ? 0 : -ENOMEM;
        for (unsigned i = 0; piece->r == 0 && i < piece_frames(piece); i++)
            piece->r = frame_compress(ctx, p, piece, i);
        (void)pthread_mutex_lock(&p->lock);
        piece->state = PIECE_DONE;
        (void)pthread_cond_signal(&p->done);
    }
    (void)pthread_mutex_unlock(&p->lock);
    (void)ZSTD_freeCCtx(ctx);
    return NULL;
}

static void
packer_done(struct packer *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void)pthread_cond_broadcast(&p->full);
    (void)pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++)
        (void)pthread_join(p->threads[i], NULL);
    (void)pthread_cond_destroy(&p->full);
    (void)pthread_cond_destroy(&p->done);
    (void)pthread_mutex_destroy(&p->lock);
    for (unsigned i = 0; i < PIECES; i++) {
        free(p->pieces[i].plain);
        free(p->pieces[i].packed);
    }
    free(p->zero);
    pack_out_done(&p->out);
}

/* Compress a frame of zeros as any frame is. */
static int
packer_make_zero(struct packer *p, struct vmt_err *err)
{
    struct piece piece = {.len = DISK_FRAME_BYTES};
    ZSTD_CCtx *ctx = frame_ctx_new();
    int r = -ENOMEM;

    piece.plain = calloc(1, DISK_FRAME_BYTES);
    piece.packed = malloc(p->bound);
    if (ctx && piece.plain && piece.packed)
        r = frame_compress(ctx, p, &piece, 0);
    (void)ZSTD_freeCCtx(ctx);
    free(piece.plain);
    if (r < 0) {
        free(piece.packed);
        return vmt_err_set(err, -r, "set up zstd");
    }
    p->zero = piece.packed;
    p->zero_len = piece.packed_len[0];
    return 0;
}

static int
packer_start(struct packer *p, struct vmt_err *err)
{
    int r = pack_out_init(&p->out, p->pack->to_fd, err);

    p->bound = ZSTD_compressBound(DISK_FRAME_BYTES);
    if (r == 0)
        r = packer_make_zero(p, err);
    for (unsigned i = 0; r == 0 && i < PIECES; i++) {
        p->pieces[i].plain = malloc(PIECE_BYTES);
        p->pieces[i].packed = malloc(PIECE_FRAMES * p->bound);
        if (!p->pieces[i].plain || !p->pieces[i].packed)
            r = vmt_err_set(err, ENOMEM, "export");
    }
    while (r == 0 && p->started < p->pack->threads) {
        int error = pthread_create(&p->threads[p->started], NULL, packer_thread, p);

        if (error)
            r = vmt_err_set(err, error, "start a thread");
        else
            p->started++;
    }
    return r;
}

/* Keep data_at and hole_at: bytes read_at to data_at are a hole, from there to hole_at
 * are data. */
static int
packer_look(struct packer *p, struct vmt_err *err)
{
    off_t at;

    if (p->read_at < p->hole_at)
        return 0;
    at = lseek(p->pack->from_fd, (off_t)p->read_at, SEEK_DATA);
    if (at < 0 && errno != ENXIO)
        return vmt_err_set(err, errno, "look for holes");
    if (at < 0 || (uint64_t)at >= p->pack->size) {
        p->data_at = p->hole_at = p->pack->size;
        return 0;
    }
    p->data_at = (uint64_t)at;
    at = lseek(p->pack->from_fd, at, SEEK_HOLE);
    if (at < 0)
        return vmt_err_set(err, errno, "look for holes");
    p->hole_at = (uint64_t)at < p->pack->size ? (uint64_t)at : p->pack->size;
    return 0;
}

static int
packer_read(struct packer *p, struct piece *piece, struct vmt_err *err)
{
    size_t at = 0;

    while (at < piece->len) {
        ssize_t n = pread(p->pack->from_fd, piece->plain + at, piece->len - at,
                          (off_t)(p->read_at + at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return vmt_err_set(err, n < 0 ? errno : EIO, "read the disk");
        at += (size_t)n;
    }
    return 0;
}

/* The next piece: whole frames of a hole, or else bytes up to the end of the frame in
 * which the data ends. */
static int
packer_fill(struct packer *p, struct piece *piece, struct vmt_err *err)
{
    const uint64_t frame = DISK_FRAME_BYTES;
    uint64_t hole, end;
    int r = packer_look(p, err);

    if (r < 0)
        return r;
    hole = p->data_at > p->read_at ? (p->data_at - p->read_at) / frame : 0;
    if (hole > DISK_SEEK_FRAMES_MAX)
        return vmt_err_setx(err, EFBIG, "the disk is too large for one export");
    piece->hole = (uint32_t)hole;
    piece->len = 0;
    if (!hole) {
        end = (p->hole_at + frame - 1) / frame * frame;
        if (end > p->read_at + PIECE_BYTES)
            end = p->read_at + PIECE_BYTES;
        if (end > p->pack->size)
            end = p->pack->size;
        piece->len = (size_t)(end - p->read_at);
        r = packer_read(p, piece, err);
    }
    p->read_at += hole * frame + piece->len;
    return r;
}

static int
packer_submit(struct packer *p, struct vmt_err *err)
{
    struct piece *piece = &p->pieces[p->head];
    int r = packer_fill(p, piece, err);

    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&p->lock);
    piece->state = piece->hole ? PIECE_DONE : PIECE_FULL;
    p->head = (p->head + 1) % PIECES;
    p->used++;
    (void)pthread_cond_signal(&p->full);
    (void)pthread_mutex_unlock(&p->lock);
    return 0;
}

static int
packer_write_frames(struct packer *p, const struct piece *piece, struct vmt_err *err)
{
    size_t left = piece->len;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < piece_frames(piece); i++) {
        size_t plain = left < DISK_FRAME_BYTES ? left : DISK_FRAME_BYTES;

        r = pack_out_frames(&p->out, piece->packed + i * p->bound, piece->packed_len[i],
                            (uint32_t)plain, 1, err);
        left -= plain;
    }
    return r;
}

/* Wait for the oldest piece and write it. */
static int
packer_write(struct packer *p, struct vmt_err *err)
{
    struct piece *piece = &p->pieces[p->tail];
    int r;

    (void)pthread_mutex_lock(&p->lock);
    while (piece->state != PIECE_DONE)
        (void)pthread_cond_wait(&p->done, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
    if (piece->r < 0)
        return vmt_err_set(err, -piece->r, "compress");
    if (piece->hole)
        r = pack_out_frames(&p->out, p->zero, p->zero_len, DISK_FRAME_BYTES, piece->hole,
                            err);
    else
        r = packer_write_frames(p, piece, err);
    p->written_at += (uint64_t)piece->hole * DISK_FRAME_BYTES + piece->len;
    pace_add(&p->pace, piece->len);
    jail_progress(p->written_at, p->pack->size);
    (void)pthread_mutex_lock(&p->lock);
    piece->state = PIECE_FREE;
    p->tail = (p->tail + 1) % PIECES;
    p->used--;
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

int
pack_run(const struct pack *pack, char ret_sha256[65], struct vmt_err *err)
{
    VMT_CLEANUP(packer_done)
    struct packer p = {.pack = pack,
                       .pace.max_rate = pack->max_rate,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .full = PTHREAD_COND_INITIALIZER,
                       .done = PTHREAD_COND_INITIALIZER};
    uint8_t metadata[DISK_METADATA_BYTES];
    int r = packer_start(&p, err);

    while (r == 0 && p.written_at < pack->size) {
        if (p.read_at < pack->size && p.used < PIECES)
            r = packer_submit(&p, err);
        else
            r = packer_write(&p, err);
    }
    if (r == 0 && pack->vm_type >= 0) {
        disk_metadata_encode((unsigned)pack->vm_type, metadata);
        r = pack_out_frames(&p.out, metadata, sizeof(metadata), 0, 1, err);
    }
    return r < 0 ? r : pack_out_finish(&p.out, ret_sha256, err);
}
