/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/raw.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

struct raw_stream *
raw_stream(struct raw *raw, int32_t id)
{
    assert_true(id > 0 && id / 2 < RAW_STREAMS_MAX);
    return &raw->streams[id / 2];
}

bool
raw_has(struct raw *raw, int32_t id, const char *line)
{
    return strstr(raw_stream(raw, id)->headers, line) != NULL;
}

static int
raw_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
              size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
              void *arg)
{
    struct raw_stream *s = raw_stream(arg, frame->hd.stream_id);
    size_t used = strlen(s->headers);

    (void)session, (void)flags;
    (void)snprintf(s->headers + used, sizeof(s->headers) - used, "%.*s: %.*s\n",
                   (int)name_len, (const char *)name, (int)value_len,
                   (const char *)value);
    return 0;
}

static int
raw_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
            size_t len, void *arg)
{
    (void)session, (void)flags;
    assert_int_equal(vmt_buf_append(&raw_stream(arg, id)->body, data, len), 0);
    return 0;
}

static int
raw_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct raw *raw = arg;

    (void)session;
    if (frame->hd.type == NGHTTP2_PING) {
        raw->pings_acked += frame->hd.flags & NGHTTP2_FLAG_ACK;
        raw->pings += !(frame->hd.flags & NGHTTP2_FLAG_ACK);
    }
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        raw->goaways++;
        raw->goaway_error = frame->goaway.error_code;
        raw->goaway_last = frame->goaway.last_stream_id;
        (void)snprintf(raw->goaway_word, sizeof(raw->goaway_word), "%.*s",
                       (int)frame->goaway.opaque_data_len,
                       (const char *)frame->goaway.opaque_data);
    }
    if (frame->hd.type == NGHTTP2_WINDOW_UPDATE && frame->hd.stream_id != 0)
        raw->window_updates++;
    if (frame->hd.type <= NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        raw_stream(raw, frame->hd.stream_id)->end_stream = true;
    return 0;
}

static int
raw_on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct raw_stream *s = raw_stream(arg, id);

    (void)session;
    s->closed = true;
    s->error = error;
    return 0;
}

static size_t
raw_fields(const char *const *fields, nghttp2_nv *nv)
{
    size_t n = 0;

    for (; fields[0]; fields += 2)
        nv[n++] =
            (nghttp2_nv){(uint8_t *)(uintptr_t)fields[0], (uint8_t *)(uintptr_t)fields[1],
                         strlen(fields[0]), strlen(fields[1]), NGHTTP2_NV_FLAG_NONE};
    return n;
}

static ssize_t
raw_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct raw_stream *s = raw_stream(arg, id);
    size_t n = s->send.len < length ? s->send.len : length;

    if (n == 0 && s->hold)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(buf, s->send.data ? s->send.data : (const uint8_t *)"", n);
    vmt_buf_consume(&s->send, n);
    if (s->send.len > 0 || s->hold)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (source->ptr) {
        nghttp2_nv nv[20];
        size_t fields = raw_fields(source->ptr, nv);

        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        assert_int_equal(nghttp2_submit_trailer(session, id, nv, fields), 0);
    }
    return (ssize_t)n;
}

void
raw_flush(struct raw *raw)
{
    const uint8_t *data;
    ssize_t n;

    while (!raw->ended && (n = nghttp2_session_mem_send(raw->session, &data)) > 0)
        (void)raw->stream->ops->send(raw->stream, data, (size_t)n, NULL, 0);
}

static void
raw_stream_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct raw *raw = arg;

    if (raw->mute)
        return;
    assert_int_equal(nghttp2_session_mem_recv(raw->session, data, len), (ssize_t)len);
    raw_flush(raw);
}

static void
raw_stream_on_end(void *arg, int status)
{
    (void)status;
    ((struct raw *)arg)->ended = true;
}

static const struct stream_handler raw_handler = {.on_data = raw_stream_on_data,
                                                  .on_end = raw_stream_on_end};

void
raw_init(struct raw *raw, struct stream *stream, bool server)
{
    nghttp2_session_callbacks *cbs;
    nghttp2_option *options;

    memset(raw, 0, sizeof(*raw));
    raw->stream = stream;
    raw->server = server;
    assert_int_equal(nghttp2_session_callbacks_new(&cbs), 0);
    assert_int_equal(nghttp2_option_new(&options), 0);
    nghttp2_option_set_no_http_messaging(options, 1);
    nghttp2_option_set_peer_max_concurrent_streams(options, 1000);
    nghttp2_session_callbacks_set_on_header_callback(cbs, raw_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, raw_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, raw_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, raw_on_close);
    assert_int_equal(server
                         ? nghttp2_session_server_new2(&raw->session, cbs, raw, options)
                         : nghttp2_session_client_new2(&raw->session, cbs, raw, options),
                     0);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(cbs);
    assert_int_equal(nghttp2_submit_settings(raw->session, 0, NULL, 0), 0);
    stream->ops->set_handler(stream, &raw_handler, raw);
    raw_flush(raw);
}

void
raw_done(struct raw *raw)
{
    nghttp2_session_del(raw->session);
    for (size_t i = 0; i < RAW_STREAMS_MAX; i++) {
        vmt_buf_done(&raw->streams[i].body);
        vmt_buf_done(&raw->streams[i].send);
    }
    stream_close(raw->stream);
}

int32_t
raw_request(struct raw *raw, const char *const *fields, const void *body, size_t len,
            bool end)
{
    nghttp2_data_provider provider = {.read_callback = raw_read};
    int32_t next = (int32_t)nghttp2_session_get_next_stream_id(raw->session);
    nghttp2_nv nv[40];
    size_t n = raw_fields(fields, nv);

    raw_stream(raw, next)->hold = !end;
    if (body)
        assert_int_equal(vmt_buf_append(&raw_stream(raw, next)->send, body, len), 0);
    assert_int_equal(nghttp2_submit_request(raw->session, NULL, nv, n,
                                            body || !end ? &provider : NULL, NULL),
                     next);
    raw_flush(raw);
    return next;
}

void
raw_more(struct raw *raw, int32_t id, const void *data, size_t len, bool end)
{
    struct raw_stream *s = raw_stream(raw, id);

    assert_int_equal(vmt_buf_append(&s->send, data, len), 0);
    s->hold = !end;
    (void)nghttp2_session_resume_data(raw->session, id);
    raw_flush(raw);
}

void
raw_respond(struct raw *raw, int32_t id, const char *const *fields, const void *body,
            size_t len, const char *const *trailers)
{
    nghttp2_data_provider provider = {.read_callback = raw_read};
    nghttp2_nv nv[20];
    size_t n = raw_fields(fields, nv);

    provider.source.ptr = (void *)(uintptr_t)trailers;
    if (body)
        assert_int_equal(vmt_buf_append(&raw_stream(raw, id)->send, body, len), 0);
    assert_int_equal(nghttp2_submit_response(raw->session, id, nv, n,
                                             body || trailers ? &provider : NULL),
                     0);
    raw_flush(raw);
}
