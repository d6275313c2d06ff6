/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/receive.c - make files of a stream. The stream is not believed: the
 * codec has refused paths that leave the place, and here are refused names that nobody
 * asked for. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/copy/copy_internal.h"

struct receiver {
    struct copy_receive *config;
    struct copy_in in;
    struct place place;
    struct place_file file;
    int folder;    /* owned: attributes that come now belong to it, -1: none */
    bool in_file;  /* an entry of a file came, its DONE did not */
    bool streamed; /* the only file was written to config->content */
    uint64_t at;   /* of config->content: bytes written */
};

VMT_DEFINE_FREEP(struct receiver, free)

/* A disk that is full or gone will be so for the next file, too. */
static bool
is_final(int error)
{
    return error == -ENOSPC || error == -EDQUOT || error == -EIO || error == -EROFS;
}

/* A path of the stream as people know it, malloc'ed, NULL without memory. */
static char *
shown_path(const struct receiver *v, const char *path)
{
    const char *base = v->place.shown ? v->place.shown : "";
    size_t len = strlen(base), first = v->place.rename ? strcspn(path, "/") : 0;
    char *full;

    path += first;
    while (len > 1 && base[len - 1] == '/')
        len--;
    if (asprintf(&full, "%.*s%s%s", (int)len, base,
                 *path == '\0' || *path == '/' || (len == 1 && *base == '/') ? "" : "/",
                 path) < 0)
        return NULL;
    return full;
}

/* Say what went wrong with one thing. Returns 0, or error when nothing else can work
 * either. */
static int
complain(struct receiver *v, const char *path, int error)
{
    VMT_CLEANUP(vmt_freep) char *full = shown_path(v, path);
    const char *what = error == -ELOOP ? "is below a symbolic link, which is not followed"
                       : error == -EEXIST ? "exists already"
                       : error == -EISDIR ? "is a folder there"
                       : error == -ENXIO  ? "is no regular file there"
                                          : NULL;

    if (is_final(error))
        return error;
    copy_complain(&v->config->side, full ? full : path, what ? 0 : -error, what);
    return 0;
}

static bool
is_below(const char *const *names, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (copy_path_below(path, names[i]))
            return true;
    return !names;
}

bool
copy_was_asked_for(const char *const *names, size_t n, const struct copy_entry *entry)
{
    /* Else a file beside the copy would become part of it. */
    return is_below(names, n, entry->path) &&
           (entry->type != COPY_HARDLINK || is_below(names, n, entry->target));
}

static int
on_file(struct receiver *v, const struct copy_entry *entry)
{
    v->in_file = true;
    if (v->config->content < 0)
        (void)place_file_begin(&v->file, &v->place, entry); /* DONE tells */
    else if (v->streamed)
        return -EBADMSG;
    v->streamed = true;
    return 0;
}

static int
on_folder(struct receiver *v, const struct copy_entry *entry)
{
    VMT_CLEANUP(vmt_closep) int dir = -1;
    const char *name;
    int r = place_folder(&v->place, entry);

    if (r == 0)
        r = place_parent(&v->place, entry->path, &dir, &name);
    if (r == 0)
        v->folder = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return r;
}

static int
on_entry(struct receiver *v, const struct copy_record *record)
{
    const struct copy_entry *entry = &record->entry;
    bool keep = v->config->keep;
    int r = 0;

    if (v->in_file || !copy_was_asked_for(v->config->names, v->config->nnames, entry))
        return -EBADMSG;
    vmt_closep(&v->folder);
    v->folder = -1;
    if (entry->type == COPY_FILE)
        return on_file(v, entry);
    if (v->config->content >= 0)
        return -EBADMSG;
    if (entry->type == COPY_FOLDER)
        r = on_folder(v, entry);
    else if (entry->type == COPY_FOLDER_END)
        r = place_folder_end(&v->place, entry);
    else if (entry->type == COPY_SYMLINK)
        r = place_symlink(&v->place, entry, keep);
    else
        r = place_hardlink(&v->place, entry, keep);
    if (r == 0 && entry->type != COPY_FOLDER)
        v->config->side.totals.files++;
    return r < 0 ? complain(v, entry->path, r) : 0;
}

static int
on_xattr(struct receiver *v, const struct copy_record *record)
{
    int fd = v->in_file ? v->file.fd : v->folder;
    int r = fd >= 0 && v->config->content < 0 ? place_xattr(fd, record) : 0;

    /* Where a file system knows no attributes, files are worth more than nothing. */
    if (r < 0 && r != -ENOTSUP)
        return complain(v, v->in_file ? v->file.path : record->name, r);
    return 0;
}

/* Zeros for a hole, and what comes behind it. */
static int
content_write(struct receiver *v, const struct copy_record *record)
{
    static const uint8_t zeros[64 * 1024];
    int r = 0;

    if (record->offset < v->at)
        return -EBADMSG;
    while (r == 0 && v->at < record->offset) {
        uint64_t hole = record->offset - v->at;
        size_t n = hole < sizeof(zeros) ? (size_t)hole : sizeof(zeros);

        r = write_all(v->config->content, zeros, n);
        v->at += n;
    }
    if (r == 0)
        r = write_all(v->config->content, record->data, record->len);
    v->at += record->len;
    return r;
}

static int
on_data(struct receiver *v, const struct copy_record *record)
{
    struct copy_side *side = &v->config->side;
    int r;

    if (!v->in_file)
        return -EBADMSG;
    if (v->config->content >= 0)
        r = content_write(v, record);
    else
        r = place_file_data(&v->file, record);
    if (r == 0 && is_final(v->file.error))
        r = v->file.error;
    side->totals.bytes += record->len;
    copy_progress(side, v->file.path ? v->file.path : "-");
    return r;
}

static int
on_done(struct receiver *v, const struct copy_record *record)
{
    int r = 0;

    if (!v->in_file)
        return -EBADMSG;
    v->in_file = false;
    if (!record->whole)
        v->config->side.complaints++; /* the other side said why */
    else if (v->config->content < 0)
        r = place_file_commit(&v->file, v->config->keep);
    if (r < 0)
        r = complain(v, v->file.path ? v->file.path : "", r);
    else if (record->whole)
        v->config->side.totals.files++;
    place_file_done(&v->file);
    return r;
}

static int
on_start(struct receiver *v, const struct copy_record *record)
{
    (void)v;
    (void)record;
    return -EBADMSG; /* there is one, at the beginning */
}

static int (*const handlers[])(struct receiver *v, const struct copy_record *record) = {
    [COPY_START] = on_start, [COPY_ENTRY] = on_entry, [COPY_XATTR] = on_xattr,
    [COPY_DATA] = on_data,   [COPY_DONE] = on_done,
};

static int
receive_all(struct receiver *v)
{
    struct copy_record record;
    int r = in_record(&v->in, &record);

    if (r == 0 && record.kind != COPY_START)
        r = -EBADMSG;
    if (r == 0)
        v->config->side.totals.total = record.total;
    while (r == 0) {
        r = in_record(&v->in, &record);
        if (r == 0 && record.kind == COPY_END)
            return v->in_file ? -EBADMSG : 0;
        if (r == 0)
            r = handlers[record.kind](v, &record);
    }
    return r;
}

static int
receive_failed(const struct receiver *v, int r, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *full = shown_path(v, v->file.path ? v->file.path : "");
    const char *at = full ? full : "";
    char path[256];

    if (r == -EPIPE)
        return vmt_err_setx(err, EPIPE, "the copy broke off before its end");
    if (r == -EBADMSG)
        return vmt_err_setx(err, EBADMSG,
                            "the other side sent what does not belong to this copy");
    if (r == -EINTR)
        return vmt_err_setx(err, EINTR, "interrupted");
    return vmt_err_set(err, -r, "%s%s", v->config->side.label,
                       vmt_log_escape(path, sizeof(path), at, strlen(at)));
}

int
copy_receive(struct copy_receive *config, struct vmt_err *err)
{
    VMT_CLEANUP(freep) struct receiver *v = calloc(1, sizeof(*v));
    int r = 0;

    if (!v)
        return vmt_err_set(err, ENOMEM, "copy");
    v->config = config;
    v->in.fd = config->in;
    v->folder = v->file.fd = v->file.dir = v->place.base = -1;
    if (config->content < 0)
        r = place_open(&v->place, config, err);
    if (r == 0) {
        r = receive_all(v);
        if (r < 0)
            r = receive_failed(v, r, err);
    }
    vmt_closep(&v->folder);
    place_file_done(&v->file);
    place_done(&v->place);
    copy_complaints_end(&config->side);
    return r;
}
