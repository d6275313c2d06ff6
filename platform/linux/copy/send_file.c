/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/send_file.c - records of one file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/str.h"
#include "platform/linux/copy/copy_internal.h"

struct copy_seen {
    dev_t dev;
    ino_t ino;
    char *path; /* owned */
};

int
send_entry(struct sender *s, const struct copy_entry *entry)
{
    uint8_t record[COPY_RECORD_MAX];
    ssize_t n = copy_entry_encode(entry, record);

    return n < 0 ? (int)n : out_write(&s->out, record, (size_t)n);
}

static int
send_xattr(struct sender *s, int fd, const char *name)
{
    uint8_t record[COPY_RECORD_MAX];
    /* No piece of the content is there now. */
    ssize_t len = fgetxattr(fd, name, s->piece, COPY_XATTR_MAX);
    ssize_t n;
    int r;

    if (len < 0)
        return 0; /* gone, or not for us to read */
    n = copy_xattr_encode(name, (size_t)len, record);
    if (n < 0)
        return 0; /* longer than any name may be */
    r = out_write(&s->out, record, (size_t)n);
    return r < 0 ? r : out_write(&s->out, s->piece, (size_t)len);
}

int
send_xattrs(struct sender *s, int fd)
{
    VMT_CLEANUP(vmt_freep) char *names = NULL;
    ssize_t len = flistxattr(fd, NULL, 0);
    int r = 0;

    if (len <= 0)
        return 0; /* none, or a file system without them */
    names = malloc((size_t)len);
    if (!names)
        return -ENOMEM;
    len = flistxattr(fd, names, (size_t)len);
    for (ssize_t i = 0; r == 0 && i < len; i += (ssize_t)strlen(names + i) + 1)
        if (vmt_str_has_prefix(names + i, "user."))
            r = send_xattr(s, fd, names + i);
    return r;
}

static int
send_piece(struct sender *s, uint64_t offset, size_t len, const char *path)
{
    uint8_t record[COPY_RECORD_MAX];
    int r = out_write(&s->out, record, copy_data_encode(offset, len, record));

    if (r == 0)
        r = out_write(&s->out, s->piece, len);
    s->config->side.totals.bytes += len;
    copy_progress(&s->config->side, path);
    return r;
}

static int
send_done(struct sender *s, bool whole)
{
    uint8_t record[COPY_RECORD_MAX];

    if (whole)
        s->config->side.totals.files++;
    return out_write(&s->out, record, copy_done_encode(whole, record));
}

/* The data from offset to end. *ret_error: why it could not be read. */
static int
send_range(struct sender *s, int fd, uint64_t offset, uint64_t end, const char *path,
           int *ret_error)
{
    while (offset < end) {
        size_t want =
            end - offset < sizeof(s->piece) ? (size_t)(end - offset) : sizeof(s->piece);
        ssize_t n = pread(fd, s->piece, want, (off_t)offset);
        int r;

        if (n < 0 && errno == EINTR && !copy_stopped())
            continue;
        if (n <= 0) {
            *ret_error = n < 0 ? errno : ESTALE; /* it became shorter */
            return 0;
        }
        r = send_piece(s, offset, (size_t)n, path);
        if (r < 0)
            return r;
        offset += (uint64_t)n;
    }
    return 0;
}

int
send_content(struct sender *s, int fd, uint64_t size, const char *path)
{
    uint64_t at = 0;
    int error = 0, r = 0;

    while (r == 0 && error == 0 && at < size) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);

        if (data < 0 && errno == ENXIO)
            break; /* only a hole is left */
        if (data < 0)
            data = (off_t)at; /* a file system that tells nothing */
        if (hole < data || (uint64_t)hole > size)
            hole = (off_t)size;
        r = send_range(s, fd, (uint64_t)data, (uint64_t)hole, path, &error);
        at = (uint64_t)hole;
    }
    if (r < 0)
        return r;
    if (error)
        copy_complain(&s->config->side, path, error == ESTALE ? 0 : error,
                      error == ESTALE ? "changed while it was read" : "read");
    return send_done(s, error == 0);
}

int
send_stream(struct sender *s, int fd, const char *path)
{
    uint64_t offset = 0;
    int r = 0;

    while (r == 0) {
        ssize_t n = read(fd, s->piece, sizeof(s->piece));

        if (n < 0 && errno == EINTR && !copy_stopped())
            continue;
        if (copy_stopped())
            return -EINTR;
        if (n < 0)
            copy_complain(&s->config->side, path, errno, "read");
        if (n <= 0)
            return send_done(s, n == 0);
        r = send_piece(s, offset, (size_t)n, path);
        offset += (uint64_t)n;
    }
    return r;
}

const char *
send_seen(struct sender *s, const struct stat *st, const char *path)
{
    if (st->st_nlink < 2)
        return NULL;
    for (size_t i = 0; i < s->nseen; i++)
        if (s->seen[i].dev == st->st_dev && s->seen[i].ino == st->st_ino)
            return s->seen[i].path;
    if (s->nseen == s->seen_room) {
        size_t room = s->seen_room ? 2 * s->seen_room : 64;
        struct copy_seen *more = realloc(s->seen, room * sizeof(*more));

        if (!more)
            return NULL; /* it becomes two files */
        s->seen = more;
        s->seen_room = room;
    }
    s->seen[s->nseen] = (struct copy_seen){st->st_dev, st->st_ino, strdup(path)};
    if (s->seen[s->nseen].path)
        s->nseen++;
    return NULL;
}

void
send_seen_done(struct sender *s)
{
    for (size_t i = 0; i < s->nseen; i++)
        free(s->seen[i].path);
    free(s->seen);
}
