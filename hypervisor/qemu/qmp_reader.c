/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/qmp_reader.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"

int
qmp_reader_feed(struct qmp_reader *reader, const void *data, size_t len,
                struct vmt_err *err)
{
    if (vmt_buf_append(&reader->buf, data, len) < 0)
        return vmt_err_set(err, ENOMEM, "read QMP");
    /* The caller takes lines after each feed, so only an unfinished one can be this
     * long. */
    if (reader->buf.len > QMP_LINE_MAX && !memchr(reader->buf.data, '\n', QMP_LINE_MAX))
        return vmt_err_setx(err, EMSGSIZE, "a QMP line is longer than %u bytes",
                            QMP_LINE_MAX);
    return 0;
}

static void
classify(struct qmp_message *m)
{
    json_t *object = m->json;
    json_t *id = json_object_get(object, "id");
    json_t *error = json_object_get(object, "error");

    m->id = json_is_number(id) ? (json_int_t)json_number_value(id) : -1;
    if (json_is_object(json_object_get(object, "QMP"))) {
        m->kind = QMP_KIND_GREETING;
    } else if (json_is_string(json_object_get(object, "event"))) {
        m->kind = QMP_KIND_EVENT;
        m->name = json_string_value(json_object_get(object, "event"));
        m->data = json_object_get(object, "data");
    } else if (json_is_object(error)) {
        m->kind = QMP_KIND_ERROR;
        m->name = json_string_value(json_object_get(error, "class"));
        m->text = json_string_value(json_object_get(error, "desc"));
    } else if (json_object_get(object, "return")) {
        m->kind = QMP_KIND_REPLY;
        m->data = json_object_get(object, "return");
    }
}

/* A line without its newline; at least one byte that is not a carriage return. */
static int
parse(const char *line, size_t len, struct qmp_message *ret_message, struct vmt_err *err)
{
    struct qmp_message m = {0};
    json_error_t why;

    /* One meaning for each member, whoever reads it. */
    m.json = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
    /* QEMU's integers have up to 64 bits without sign, jansson's 63 and a sign: what a
     * guest does not report of its memory is 2^64-1. */
    if (!m.json && json_error_code(&why) == json_error_numeric_overflow)
        m.json =
            json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
    if (!json_is_object(m.json)) {
        json_decref(m.json);
        return vmt_err_setx(err, EPROTO, "QMP sent a line that is no JSON object");
    }
    classify(&m);
    *ret_message = m;
    return 1;
}

int
qmp_reader_next(struct qmp_reader *reader, struct qmp_message *ret_message,
                struct vmt_err *err)
{
    struct vmt_buf *buf = &reader->buf;

    while (reader->scanned < buf->len) {
        const uint8_t *end =
            memchr(buf->data + reader->scanned, '\n', buf->len - reader->scanned);
        size_t len;
        int r = 0;

        if (!end) {
            reader->scanned = buf->len;
            return 0;
        }
        len = (size_t)(end - buf->data);
        if (len > 0 && !(len == 1 && buf->data[0] == '\r'))
            r = parse((const char *)buf->data, len, ret_message, err);
        vmt_buf_consume(buf, len + 1);
        reader->scanned = 0;
        if (r != 0)
            return r;
    }
    return 0;
}

void
qmp_reader_done(struct qmp_reader *reader)
{
    vmt_buf_done(&reader->buf);
    reader->scanned = 0;
}

void
qmp_message_done(struct qmp_message *message)
{
    json_decref(message->json);
    memset(message, 0, sizeof(*message));
}
