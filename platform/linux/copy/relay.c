/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/relay.c - a copy from one machine to another by way of this one.
 * Neither end is believed: each record is taken apart and made anew. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/copy/copy_internal.h"

struct relay {
    struct copy_relay *config;
    struct copy_in in;
    struct copy_out out;
    char path[COPY_PATH_MAX + 1]; /* of the last entry */
};

VMT_DEFINE_FREEP(struct relay, free)

static ssize_t
record_encode(const struct copy_record *record, uint8_t *out)
{
    switch (record->kind) {
    case COPY_START:
        return (ssize_t)copy_start_encode(record->total, out);
    case COPY_ENTRY:
        return copy_entry_encode(&record->entry, out);
    case COPY_XATTR:
        return copy_xattr_encode(record->name, record->len, out);
    case COPY_DATA:
        return (ssize_t)copy_data_encode(record->offset, record->len, out);
    case COPY_DONE:
        return (ssize_t)copy_done_encode(record->whole, out);
    case COPY_END:
        break;
    }
    return (ssize_t)copy_end_encode(out);
}

static void
relay_count(struct relay *relay, const struct copy_record *record)
{
    struct copy_totals *totals = &relay->config->side.totals;

    if (record->kind == COPY_START)
        totals->total = record->total;
    else if (record->kind == COPY_DATA)
        totals->bytes += record->len;
    else if (record->kind == COPY_DONE)
        totals->files += record->whole;
    else if (record->kind == COPY_ENTRY)
        totals->files +=
            record->entry.type != COPY_FILE && record->entry.type != COPY_FOLDER;
    if (record->kind == COPY_ENTRY)
        (void)snprintf(relay->path, sizeof(relay->path), "%s", record->entry.path);
    copy_progress(&relay->config->side, relay->path);
}

static int
relay_record(struct relay *relay, const struct copy_record *record)
{
    uint8_t head[COPY_RECORD_MAX];
    bool has_data = record->kind == COPY_DATA || record->kind == COPY_XATTR;
    ssize_t n;
    int r;

    if (record->kind == COPY_ENTRY &&
        !copy_was_asked_for(relay->config->names, relay->config->nnames, &record->entry))
        return -EBADMSG;
    n = record_encode(record, head);
    if (n < 0)
        return (int)n;
    r = out_write(&relay->out, head, (size_t)n);
    if (r == 0 && has_data)
        r = out_write(&relay->out, record->data, record->len);
    if (r == 0)
        relay_count(relay, record);
    return r;
}

static int
relay_all(struct relay *relay)
{
    struct copy_record record = {.kind = COPY_START};
    int r = 0;

    while (r == 0) {
        r = in_record(&relay->in, &record);
        if (r == 0)
            r = relay_record(relay, &record);
        if (r == 0 && record.kind == COPY_END)
            return out_flush(&relay->out);
    }
    return r;
}

int
copy_relay(struct copy_relay *config, struct vmt_err *err)
{
    VMT_CLEANUP(freep) struct relay *relay = calloc(1, sizeof(*relay));
    int r;

    if (!relay)
        return vmt_err_set(err, ENOMEM, "copy");
    relay->config = config;
    relay->in.fd = config->in;
    relay->out.fd = config->out;
    r = relay_all(relay);
    if (r == -EBADMSG)
        return vmt_err_setx(err, EBADMSG,
                            "the source sent what does not belong to this copy");
    return r < 0 ? vmt_err_set(err, -r, "copy") : 0;
}
