/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/unpack_zip.c - exports of an intermediate era of the original.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/source.h"
#include "platform/linux/vm_disk/unpack.h"

struct unzip {
    struct source *source;  /* borrowed */
    size_t lent;            /* bytes at the front of it that libarchive has */
    struct archive *reader; /* owned */
};

static void
unzip_done(struct unzip *z)
{
    if (z->reader)
        (void)archive_read_free(z->reader);
}

/* What was lent in the last call is used by now. */
static la_ssize_t
unzip_on_read(struct archive *reader, void *arg, const void **ret_data)
{
    struct unzip *z = arg;
    ssize_t n;

    source_consume(z->source, z->lent);
    z->lent = 0;
    n = source_peek(z->source, 1, NULL);
    if (n < 0) {
        archive_set_error(reader, EIO, "cannot read it");
        return -1;
    }
    z->lent = (size_t)n;
    *ret_data = z->source->buf.data;
    return n;
}

static int
unzip_fail(const struct unzip *z, int code, struct vmt_err *err)
{
    const char *words = archive_error_string(z->reader);
    char text[128];

    if (!words)
        words = "unknown error";
    return vmt_err_setx(err, code, "bad zip file: %s",
                        vmt_log_escape(text, sizeof(text), words, strlen(words)));
}

static int
unzip_open(struct unzip *z, struct vmt_err *err)
{
    z->reader = archive_read_new();
    if (!z->reader)
        return vmt_err_set(err, ENOMEM, "read a zip file");
    /* Pipes cannot seek, so the entries are taken as they come. */
    if (archive_read_support_format_zip_streamable(z->reader) != ARCHIVE_OK ||
        archive_read_open(z->reader, z, NULL, unzip_on_read, NULL) != ARCHIVE_OK)
        return unzip_fail(z, EBADMSG, err);
    return 0;
}

static int
unzip_check_entry(struct archive_entry *entry, const char *name, struct vmt_err *err)
{
    const char *path = archive_entry_pathname(entry);
    char text[128];

    if (archive_entry_filetype(entry) != S_IFREG || !path || strcmp(path, name) != 0)
        return vmt_err_setx(err, EIO, "the zip file has %s, not %s",
                            path ? vmt_log_escape(text, sizeof(text), path, strlen(path))
                                 : "something",
                            name);
    return 0;
}

/* Blocks come in order; what is between them is zero. */
static int
unzip_data(struct unzip *z, struct sink *sink, struct vmt_err *err)
{
    for (;;) {
        const void *data = NULL;
        size_t len = 0;
        la_int64_t at = 0;
        int r = archive_read_data_block(z->reader, &data, &len, &at);

        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK || at < 0 || (uint64_t)at < sink->at)
            return unzip_fail(z, EIO, err);
        r = sink_skip(sink, (uint64_t)at - sink->at, err);
        if (r == 0)
            r = sink_write(sink, data, len, err);
        if (r < 0)
            return r;
    }
}

int
unpack_zip(struct source *source, struct sink *sink, const char *name,
           struct vmt_err *err)
{
    VMT_CLEANUP(unzip_done) struct unzip z = {.source = source};
    struct archive_entry *entry = NULL;
    int r = unzip_open(&z, err);

    if (r < 0)
        return r;
    r = archive_read_next_header(z.reader, &entry);
    if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
        return unzip_fail(&z, EIO, err);
    r = unzip_check_entry(entry, name, err);
    if (r == 0)
        r = unzip_data(&z, sink, err);
    if (r < 0)
        return r;
    r = archive_read_next_header(z.reader, &entry);
    if (r == ARCHIVE_OK || r == ARCHIVE_WARN)
        return vmt_err_setx(err, EIO, "the zip file has more than one entry");
    if (r != ARCHIVE_EOF)
        return unzip_fail(&z, EIO, err);
    source_consume(source, z.lent);
    return source_drain(source, err);
}
