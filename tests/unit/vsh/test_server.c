/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/vsh/frame.h"
#include "tests/unit/test.h"
#include "tests/unit/vsh/hex.h"

VMT_DEFINE_FREEP(struct vsh_server, vsh_server_free)

/* What the server did, as text, and what it sent. */
struct record {
    char log[512];
    struct vmt_buf sent;
};

static void note(struct record *rec, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
note(struct record *rec, const char *fmt, ...)
{
    size_t n = strlen(rec->log);
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(rec->log + n, sizeof(rec->log) - n, fmt, ap);
    va_end(ap);
}

static int
record_send(void *arg, const uint8_t *frame, size_t len)
{
    struct record *rec = arg;

    return vmt_buf_append(&rec->sent, frame, len);
}

static void
record_request(void *arg, const struct vsh_request *request)
{
    note(arg, "request %s %zu;", request->user, request->argc);
}

static void
record_stdin(void *arg, const uint8_t *data, size_t len)
{
    note(arg, "stdin %.*s;", (int)len, len ? (const char *)data : "");
}

static void
record_resize(void *arg, int32_t rows, int32_t cols)
{
    note(arg, "resize %d %d;", (int)rows, (int)cols);
}

static void
record_signal(void *arg, int sig)
{
    note(arg, "signal %d;", sig);
}

static void
record_end(void *arg, const char *reason)
{
    note(arg, "end %s;", reason ? reason : "-");
}

static const struct vsh_server_ops record_ops = {
    .send = record_send,
    .on_request = record_request,
    .on_stdin = record_stdin,
    .on_resize = record_resize,
    .on_signal = record_signal,
    .on_end = record_end,
};

static void
feed(struct vsh_server *server, const char *hex)
{
    uint8_t raw[256];
    size_t n = hex_bytes(hex, raw);

    for (size_t i = 0; i < n; i++)
        vsh_server_receive(server, raw + i, 1);
}

static struct vsh_server *
fresh(struct record *rec)
{
    struct vsh_server *server = NULL;

    assert_int_equal(vsh_server_new(&record_ops, rec, &server), 0);
    return server;
}

static void
a_session_is_told_in_order(void **state)
{
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);

    (void)state;
    feed(server,
         HEX_REQUEST HEX_STDIN_HI HEX_RESIZE HEX_SIGINT HEX_STDIN_EOF HEX_SIGTERM);
    assert_string_equal(rec.log, "request bob 2;stdin hi;resize 50 132;signal 2;stdin ;"
                                 "signal 15;");
}

static void
answers_are_sent_byte_for_byte(void **state)
{
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);
    uint8_t want[128], room[VSH_DATA_HEAD + 3];
    size_t n = hex_bytes(HEX_READY HEX_STDOUT_OK HEX_EXITED_3, want);

    (void)state;
    feed(server, HEX_REQUEST);
    assert_int_equal(vsh_server_ready(server, 300, NULL, 0), 0);
    memcpy(room + VSH_DATA_HEAD, "ok\n", 3);
    assert_int_equal(
        vsh_server_output(server, VSH_STREAM_STDOUT, room + VSH_DATA_HEAD, 3), 0);
    assert_int_equal(vsh_server_exited(server, 3, ""), 0);
    assert_int_equal(rec.sent.len, n);
    assert_memory_equal(rec.sent.data, want, n);
    vmt_buf_done(&rec.sent);
}

static void
a_refusal_may_have_any_length(void **state)
{
    static char words[3 * VSH_BODY_MAX];
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);

    (void)state;
    memset(words, 'x', sizeof(words) - 1);
    feed(server, HEX_REQUEST);
    assert_int_equal(vsh_server_refuse(server, 126, words), 0);
    assert_in_range(rec.sent.len, 500, VSH_FRAME_MAX);
    feed(server, HEX_STDIN_HI); /* over: dropped */
    assert_string_equal(rec.log, "request bob 2;");
    vmt_buf_done(&rec.sent);
}

static void
a_broken_client_only_ends_its_session(void **state)
{
    static const char *const streams[] = {
        "01100000",
        "02000000 0aff",
        HEX_REQUEST "ffffffff",
        HEX_REQUEST "02000000 1aff",
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(streams); i++) {
        struct record rec = {.log = ""};
        VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);

        feed(server, streams[i]);
        assert_non_null(strstr(rec.log, "end the "));
    }
}

static void
a_client_that_says_goodbye_ends_the_session(void **state)
{
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);

    (void)state;
    feed(server, HEX_REQUEST "04000000 1202 0802");
    assert_string_equal(rec.log, "request bob 2;end -;");
}

static void
what_is_no_signal_and_no_stdin_is_ignored(void **state)
{
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);

    (void)state;
    feed(server, HEX_REQUEST "02000000 2000"      /* signal 0 */
                             "02000000 2040"      /* signal 64 */
                             "04000000 0a02 0802" /* data for stdout */
                             "00000000"           /* empty */
                             "04000000 1202 0801" /* READY */);
    assert_string_equal(rec.log, "request bob 2;");
}

/* features 1 (large frames) of a newer client, nopty */
#define HEX_REQUEST_LARGE "05000000 4001 c03e01"

static void
large_frames_are_for_clients_that_asked(void **state)
{
    static uint8_t room[VSH_DATA_HEAD + VSH_LARGE_DATA_MAX];
    static uint8_t large[4] = {0x01, 0x10, 0, 0};

    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        struct record rec = {.log = ""};
        VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);

        feed(server, asked ? HEX_REQUEST_LARGE : HEX_REQUEST);
        assert_int_equal(vsh_server_ready(server, 300, NULL, 0), 0);
        assert_int_equal(vsh_server_output_max(server),
                         asked ? VSH_LARGE_DATA_MAX : VSH_DATA_MAX);
        assert_int_equal(vsh_server_output(server, VSH_STREAM_STDOUT,
                                           room + VSH_DATA_HEAD, VSH_LARGE_DATA_MAX),
                         asked ? 0 : -EMSGSIZE);
        assert_int_equal(rec.sent.len > VSH_LARGE_DATA_MAX, asked);
        vsh_server_receive(server, large, sizeof(large));
        assert_int_equal(strstr(rec.log, "oversized") == NULL, asked);
        vmt_buf_done(&rec.sent);
    }
}

static void
an_accepted_connection_is_told_to_clients_that_know_of_it(void **state)
{
    static const uint8_t token[VSH_TOKEN_BYTES] = "0123456789abcdef";
    struct record rec = {.log = ""};
    VMT_CLEANUP(vsh_server_freep) struct vsh_server *server = fresh(&rec);

    (void)state;
    feed(server, HEX_REQUEST);
    assert_int_equal(vsh_server_ready(server, 300, NULL, 0), 0);
    assert_int_equal(vsh_server_accepted(server, 0, token), -ENOTSUP);
    vmt_buf_done(&rec.sent);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_told_in_order),
        cmocka_unit_test(answers_are_sent_byte_for_byte),
        cmocka_unit_test(a_refusal_may_have_any_length),
        cmocka_unit_test(a_broken_client_only_ends_its_session),
        cmocka_unit_test(a_client_that_says_goodbye_ends_the_session),
        cmocka_unit_test(large_frames_are_for_clients_that_asked),
        cmocka_unit_test(an_accepted_connection_is_told_to_clients_that_know_of_it),
        cmocka_unit_test(what_is_no_signal_and_no_stdin_is_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
