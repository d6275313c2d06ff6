/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/vsh/frame.h"
#include "tests/unit/test.h"
#include "tests/unit/vsh/hex.h"

VMT_DEFINE_FREEP(struct vsh_client, vsh_client_free)

/* What the client did, as text, and what it sent. */
struct record {
    char log[512];
    struct vmt_buf sent;
    int send_result;
};

static void
note(struct record *rec, const char *text)
{
    size_t n = strlen(rec->log);

    (void)snprintf(rec->log + n, sizeof(rec->log) - n, "%s;", text);
}

static int
record_send(void *arg, const uint8_t *frame, size_t len)
{
    struct record *rec = arg;

    assert_int_equal(vmt_buf_append(&rec->sent, frame, len), 0);
    return rec->send_result;
}

static void
record_ready(void *arg, int32_t pid)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "ready %d", (int)pid);
    note(arg, text);
}

static void
record_output(void *arg, enum vsh_stream stream, const uint8_t *data, size_t len)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "out%d %.*s", (int)stream, (int)len,
                   len ? (const char *)data : "");
    note(arg, text);
}

static void
record_end(void *arg, const struct vsh_end *end)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "end%d %d %s", (int)end->kind, end->code,
                   end->text);
    note(arg, text);
}

static const struct vsh_client_ops record_ops = {
    .send = record_send,
    .on_ready = record_ready,
    .on_output = record_output,
    .on_end = record_end,
};

static void
feed(struct vsh_client *client, const char *hex)
{
    uint8_t raw[256];
    size_t n = hex_bytes(hex, raw);

    for (size_t i = 0; i < n; i++)
        vsh_client_receive(client, raw + i, 1);
}

static struct vsh_client *
started(struct record *rec)
{
    struct vsh_client *client = NULL;
    struct vsh_request request = {.target = VSH_TARGET_VM};

    assert_int_equal(vsh_client_new(&record_ops, rec, &client), 0);
    assert_int_equal(vsh_client_start(client, &request, NULL), 0);
    vmt_buf_consume(&rec->sent, rec->sent.len);
    return client;
}

static void
a_session_runs_from_ready_to_exit(void **state)
{
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = started(&rec);

    (void)state;
    feed(client, HEX_READY HEX_STDOUT_OK HEX_EXITED_3);
    assert_string_equal(rec.log, "ready 300;out2 ok\n;end0 3 ;");
    feed(client, HEX_STDOUT_OK); /* after the end */
    assert_string_equal(rec.log, "ready 300;out2 ok\n;end0 3 ;");
    vmt_buf_done(&rec.sent);
}

static void
nothing_is_sent_before_ready_or_after_the_end(void **state)
{
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = started(&rec);

    (void)state;
    assert_int_equal(vsh_client_stdin(client, (const uint8_t *)"hi", 2), 0);
    assert_int_equal(vsh_client_signal(client, 2), 0);
    assert_int_equal(rec.sent.len, 0);
    feed(client, HEX_READY HEX_EXITED_3);
    assert_int_equal(vsh_client_resize(client, 1, 2), 0);
    assert_int_equal(rec.sent.len, 0);
    vmt_buf_done(&rec.sent);
}

static void
input_goes_out_as_frames_and_is_cut_into_chunks(void **state)
{
    static uint8_t bytes[2 * VSH_DATA_MAX + 1];
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = started(&rec);
    uint8_t want[64];
    size_t n = hex_bytes(HEX_STDIN_HI HEX_STDIN_EOF HEX_RESIZE HEX_SIGTERM, want);

    (void)state;
    feed(client, HEX_READY);
    assert_int_equal(vsh_client_stdin(client, (const uint8_t *)"hi", 2), 0);
    assert_int_equal(vsh_client_stdin(client, NULL, 0), 0);
    assert_int_equal(vsh_client_resize(client, 50, 132), 0);
    assert_int_equal(vsh_client_signal(client, 15), 0);
    assert_int_equal(rec.sent.len, n);
    assert_memory_equal(rec.sent.data, want, n);
    vmt_buf_consume(&rec.sent, rec.sent.len);
    assert_int_equal(vsh_client_stdin(client, bytes, sizeof(bytes)), 0);
    assert_int_equal(rec.sent.len, 2 * (4 + 4008) + 4 + 7);
    rec.send_result = -EPIPE;
    assert_int_equal(vsh_client_stdin(client, bytes, 1), -EPIPE);
    vmt_buf_done(&rec.sent);
}

static void
a_refusal_ends_the_session_with_its_words(void **state)
{
    struct vsh_response no = {VSH_STATUS_FAILED, "ls2: not found", .exit_code = 127};
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = started(&rec);
    uint8_t out[VSH_FRAME_MAX];
    ssize_t n = vsh_response_encode(&no, out);

    (void)state;
    assert_true(n > 0);
    vsh_client_receive(client, out, (size_t)n);
    assert_string_equal(rec.log, "end1 127 ls2: not found;");
    vmt_buf_done(&rec.sent);
}

static void
a_hostile_server_only_ends_its_session(void **state)
{
    static const char *const streams[] = {
        "01100000",                     /* oversized response */
        "02000000 0aff",                /* no message */
        HEX_READY "ffffffff",           /* oversized later */
        HEX_READY "02000000 1aff",      /* no message later */
        HEX_READY "04000000 1202 0803", /* FAILED */
        HEX_READY "04000000 1202 0800", /* status UNKNOWN */
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(streams); i++) {
        struct record rec = {.log = ""};
        VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = started(&rec);

        feed(client, streams[i]);
        assert_non_null(strstr(rec.log, "end2 0"));
        vmt_buf_done(&rec.sent);
    }
}

static void
odd_but_legal_messages_are_ignored(void **state)
{
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = started(&rec);

    (void)state;
    feed(client, HEX_READY "00000000"           /* empty */
                           "04000000 0a02 0801" /* data for stdin */
                           "04000000 0a02 0809" /* a stream that does not exist */
                           "04000000 1202 0801" /* READY again */);
    assert_string_equal(rec.log, "ready 300;");
    assert_true(vsh_client_running(client));
    vmt_buf_done(&rec.sent);
}

static void
a_command_too_long_for_a_frame_is_refused_in_words(void **state)
{
    static char word[VSH_BODY_MAX + 1];
    const char *argv[] = {word};
    struct vsh_request request = {.argv = argv, .argc = 1};
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = NULL;
    struct vmt_err err;

    (void)state;
    memset(word, 'x', sizeof(word) - 1);
    assert_int_equal(vsh_client_new(&record_ops, &rec, &client), 0);
    assert_int_equal(vsh_client_start(client, &request, &err), -EMSGSIZE);
    assert_non_null(strstr(err.msg, "4096"));
    assert_int_equal(rec.sent.len, 0);
}

static void
large_frames_are_for_servers_that_agreed(void **state)
{
    static uint8_t bytes[VSH_LARGE_DATA_MAX];

    (void)state;
    for (int agreed = 0; agreed < 2; agreed++) {
        struct record rec = {.log = ""};
        VMT_CLEANUP(vsh_client_freep) struct vsh_client *client = started(&rec);

        /* READY, with and without features 1 */
        feed(client, agreed ? "05000000 0801 c83e01" : HEX_READY);
        assert_int_equal(vsh_client_features(client),
                         agreed ? VSH_FEATURE_LARGE_FRAMES : 0);
        assert_int_equal(vsh_client_stdin(client, bytes, sizeof(bytes)), 0);
        /* One frame with a length above 4096, or many with less. */
        assert_int_equal(rec.sent.data[2] > 0, agreed);
        vmt_buf_done(&rec.sent);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_frames_are_for_servers_that_agreed),
        cmocka_unit_test(a_session_runs_from_ready_to_exit),
        cmocka_unit_test(nothing_is_sent_before_ready_or_after_the_end),
        cmocka_unit_test(input_goes_out_as_frames_and_is_cut_into_chunks),
        cmocka_unit_test(a_refusal_ends_the_session_with_its_words),
        cmocka_unit_test(a_hostile_server_only_ends_its_session),
        cmocka_unit_test(odd_but_legal_messages_are_ignored),
        cmocka_unit_test(a_command_too_long_for_a_frame_is_refused_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
