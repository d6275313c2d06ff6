/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/qmp_reader.h - QMP bytes to messages; knows no socket. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "core/base/buf.h"

struct vmt_err;

/* The longest line we accept. Replies to the commands that we use have a few hundred
 * bytes, a list of all devices a few thousand; an event may carry a path or a register
 * dump. */
#define QMP_LINE_MAX (64u * 1024)

enum qmp_kind {
    QMP_KIND_OTHER = 0, /* a JSON object that means nothing to us */
    QMP_KIND_GREETING,
    QMP_KIND_REPLY,
    QMP_KIND_ERROR,
    QMP_KIND_EVENT,
};

/* All pointers are borrowed from json. */
struct qmp_message {
    json_t *json; /* owned */
    enum qmp_kind kind;
    json_int_t id;    /* of a reply or error, -1: none */
    const char *name; /* event name or error class, else NULL */
    const char *text; /* description of an error, else NULL */
    json_t *data;     /* of an event or reply; NULL: none */
};

/* All zeroes is a reader at the start of a connection. */
struct qmp_reader {
    struct vmt_buf buf;
    size_t scanned; /* bytes of buf that hold no newline */
};

/* Append bytes from the socket. Returns 0, -ENOMEM, or -EMSGSIZE: a line grew too long.
 */
int qmp_reader_feed(struct qmp_reader *reader, const void *data, size_t len,
                    struct vmt_err *err);

/* Take the next whole line off the front. Returns 1 with a message that the caller
 * releases, 0 when there is no whole line yet, or -EPROTO for a line that is no JSON
 * object, or one with a member twice: the connection is useless then. Empty lines are
 * skipped. Source: QEMU 7.2, docs/interop/qmp-spec.txt: JSON objects, each ends in CRLF.
 */
int qmp_reader_next(struct qmp_reader *reader, struct qmp_message *ret_message,
                    struct vmt_err *err);

void qmp_reader_done(struct qmp_reader *reader);
void qmp_message_done(struct qmp_message *message);
