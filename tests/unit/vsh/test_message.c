/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/message.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/vsh/frame.h"
#include "tests/unit/test.h"
#include "tests/unit/vsh/hex.h"

static void
assert_frame(const uint8_t *out, ssize_t n, const char *hex)
{
    uint8_t want[128];
    size_t len = hex_bytes(hex, want);

    assert_int_equal(n, len);
    assert_memory_equal(out, want, len);
}

static struct vsh_request
example_request(void)
{
    static const struct vsh_env env[] = {{"TERM", "xterm"}};
    static const char *const argv[] = {"ls", "-l"};

    return (struct vsh_request){
        .target = VSH_TARGET_VM,
        .user = "bob",
        .env = env,
        .nenv = 1,
        .argv = argv,
        .argc = 2,
        .rows = 24,
        .cols = 80,
    };
}

static void
requests_are_encoded_byte_for_byte(void **state)
{
    struct vsh_request request = example_request();
    uint8_t out[VSH_FRAME_MAX];

    (void)state;
    assert_frame(out, vsh_request_encode(&request, out), HEX_REQUEST);
    request.nopty = true;
    assert_frame(out, vsh_request_encode(&request, out), HEX_REQUEST_NOPTY);
}

static void
server_messages_are_encoded_byte_for_byte(void **state)
{
    struct vsh_response ready = {VSH_STATUS_READY, "vsh ready", .pid = 300};
    struct vsh_message out_ok = {.kind = VSH_KIND_DATA,
                                 .stream = VSH_STREAM_STDOUT,
                                 .data = (const uint8_t *)"ok\n",
                                 .len = 3};
    struct vsh_message exited = {
        .kind = VSH_KIND_STATUS, .status = VSH_STATUS_EXITED, .code = 3};
    uint8_t out[VSH_FRAME_MAX];

    (void)state;
    assert_frame(out, vsh_response_encode(&ready, out), HEX_READY);
    assert_frame(out, vsh_host_encode(&out_ok, out), HEX_STDOUT_OK);
    assert_frame(out, vsh_host_encode(&exited, out), HEX_EXITED_3);
}

static void
client_messages_are_encoded_byte_for_byte(void **state)
{
    struct vsh_message hi = {.kind = VSH_KIND_DATA,
                             .stream = VSH_STREAM_STDIN,
                             .data = (const uint8_t *)"hi",
                             .len = 2};
    struct vsh_message eof = {.kind = VSH_KIND_DATA, .stream = VSH_STREAM_STDIN};
    struct vsh_message resize = {.kind = VSH_KIND_RESIZE, .rows = 50, .cols = 132};
    struct vsh_message sig = {.kind = VSH_KIND_SIGNAL, .signal = 2};
    uint8_t out[VSH_FRAME_MAX];

    (void)state;
    assert_frame(out, vsh_guest_encode(&hi, out), HEX_STDIN_HI);
    assert_frame(out, vsh_guest_encode(&eof, out), HEX_STDIN_EOF);
    assert_frame(out, vsh_guest_encode(&resize, out), HEX_RESIZE);
    assert_frame(out, vsh_guest_encode(&sig, out), HEX_SIGINT);
    sig.signal = 15;
    assert_frame(out, vsh_guest_encode(&sig, out), HEX_SIGTERM);
}

static void
a_request_is_read_back(void **state)
{
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded d = {0};
    uint8_t raw[64];
    size_t n = hex_bytes(HEX_REQUEST_NOPTY, raw);

    (void)state;
    assert_int_equal(vsh_request_decode(raw + 4, n - 4, &d), 0);
    assert_string_equal(d.request.target, VSH_TARGET_VM);
    assert_string_equal(d.request.user, "bob");
    assert_int_equal(d.request.nenv, 1);
    assert_string_equal(d.request.env[0].name, "TERM");
    assert_string_equal(d.request.env[0].value, "xterm");
    assert_int_equal(d.request.argc, 2);
    assert_string_equal(d.request.argv[1], "-l");
    assert_int_equal(d.request.rows, 24);
    assert_int_equal(d.request.cols, 80);
    assert_true(d.request.nopty);
    assert_string_equal(d.request.cwd, "");
}

static void
an_empty_payload_is_a_request_of_defaults(void **state)
{
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded d = {0};

    (void)state;
    assert_int_equal(vsh_request_decode((const uint8_t *)"", 0, &d), 0);
    assert_string_equal(d.request.user, "");
    assert_int_equal(d.request.argc, 0);
    assert_false(d.request.nopty);
}

static void
unknown_fields_and_messages_are_skipped(void **state)
{
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded d = {0};
    static const uint8_t newer[] = {0x7a, 0x02, 'x', 'y'}; /* field 15, two bytes */

    (void)state;
    assert_int_equal(vsh_host_decode(newer, sizeof(newer), &d), 0);
    assert_int_equal(d.message.kind, VSH_KIND_NONE);
}

/* A payload that was cut must fail or give an honest shorter message; the sanitizers
 * watch that nothing is read behind its end. */
static void
cut_payloads_are_survived(void **state)
{
    uint8_t raw[64];
    size_t total = hex_bytes(HEX_REQUEST_NOPTY, raw);

    (void)state;
    for (size_t n = 0; n < total - 4; n++) {
        VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded d = {0};
        VMT_CLEANUP(vmt_freep) uint8_t *copy = malloc(n + 1);
        int r;

        assert_non_null(copy);
        memcpy(copy, raw + 4, n);
        r = vsh_request_decode(copy, n, &d);
        assert_true(r == 0 || r == -EBADMSG);
    }
}

static void
too_much_for_a_frame_is_refused(void **state)
{
    static char word[VSH_BODY_MAX + 1];
    const char *argv[] = {word};
    struct vsh_request request = {.argv = argv, .argc = 1};
    struct vsh_message data = {.kind = VSH_KIND_DATA,
                               .stream = VSH_STREAM_STDIN,
                               .data = (const uint8_t *)word,
                               .len = VSH_DATA_MAX};
    uint8_t out[VSH_FRAME_MAX];

    (void)state;
    memset(word, 'x', sizeof(word) - 1);
    assert_int_equal(vsh_request_encode(&request, out), -EMSGSIZE);
    word[VSH_BODY_MAX - 3] = '\0';
    assert_int_equal(vsh_request_encode(&request, out), VSH_FRAME_MAX);
    assert_int_equal(vsh_guest_encode(&data, out), 4 + 4008);
    data.len++;
    assert_int_equal(vsh_guest_encode(&data, out), -EMSGSIZE);
    assert_int_equal(vsh_host_encode(&data, out), -EMSGSIZE);
}

static void
additions_survive_the_way_to_the_guest(void **state)
{
    static const uint8_t token[VSH_TOKEN_BYTES] = "0123456789abcdef";
    struct vsh_address listen[2] = {{.port = 80}, {.path = "/x", .agent = true}};
    struct vsh_address connect = {.host = "::1", .port = 65535};
    struct vsh_request request = {.target = VSH_TARGET_VM,
                                  .features = 7,
                                  .no_command = true,
                                  .list_sessions = true,
                                  .connect = &connect,
                                  .accepted = token,
                                  .listen = listen,
                                  .nlisten = 2};
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded got = {0};
    uint8_t out[VSH_FRAME_MAX];
    ssize_t n = vsh_request_encode(&request, out);

    (void)state;
    assert_true(n > 4);
    assert_int_equal(vsh_request_decode(out + 4, (size_t)n - 4, &got), 0);
    assert_int_equal(got.request.features, 7);
    assert_true(got.request.no_command && got.request.list_sessions);
    assert_string_equal(got.request.connect->host, "::1");
    assert_int_equal(got.request.connect->port, 65535);
    assert_memory_equal(got.request.accepted, token, VSH_TOKEN_BYTES);
    assert_int_equal(got.request.nlisten, 2);
    assert_int_equal(got.request.listen[0].port, 80);
    assert_string_equal(got.request.listen[1].path, "/x");
    assert_true(got.request.listen[1].agent);
}

static void
additions_out_of_bounds_are_no_message(void **state)
{
    static const char *const bodies[] = {
        "d23e04 1080800 4", /* connect to port 65536 */
        "da3e03 616263",    /* a token of three bytes */
        "ea3e04 10808004",  /* listen at port 65536 */
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bodies); i++) {
        struct vsh_decoded got;
        uint8_t raw[32];

        assert_int_equal(vsh_request_decode(raw, hex_bytes(bodies[i], raw), &got),
                         -EBADMSG);
    }
}

static void
a_session_survives_the_way_to_the_host(void **state)
{
    struct vsh_message m = {.kind = VSH_KIND_SESSION,
                            .session = {.id = 3,
                                        .pid = 300,
                                        .uid = 1000,
                                        .user = "bob",
                                        .tty = "/dev/pts/0",
                                        .command = "ls",
                                        .since = 1700000000,
                                        .seconds = 12,
                                        .cgroup = "/session-3",
                                        .forward = "x:80"}};
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded got = {0};
    uint8_t out[VSH_FRAME_MAX];
    ssize_t n = vsh_host_encode(&m, out);
    const struct vsh_session_info *s = &got.message.session;

    (void)state;
    assert_int_equal(vsh_host_decode(out + 4, (size_t)n - 4, &got), 0);
    assert_int_equal(got.message.kind, VSH_KIND_SESSION);
    assert_true(s->id == 3 && s->pid == 300 && s->uid == 1000 && s->seconds == 12);
    assert_true(s->since == 1700000000);
    assert_string_equal(s->user, "bob");
    assert_string_equal(s->tty, "/dev/pts/0");
    assert_string_equal(s->command, "ls");
    assert_string_equal(s->cgroup, "/session-3");
    assert_string_equal(s->forward, "x:80");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additions_survive_the_way_to_the_guest),
        cmocka_unit_test(additions_out_of_bounds_are_no_message),
        cmocka_unit_test(a_session_survives_the_way_to_the_host),
        cmocka_unit_test(requests_are_encoded_byte_for_byte),
        cmocka_unit_test(server_messages_are_encoded_byte_for_byte),
        cmocka_unit_test(client_messages_are_encoded_byte_for_byte),
        cmocka_unit_test(a_request_is_read_back),
        cmocka_unit_test(an_empty_payload_is_a_request_of_defaults),
        cmocka_unit_test(unknown_fields_and_messages_are_skipped),
        cmocka_unit_test(cut_payloads_are_survived),
        cmocka_unit_test(too_much_for_a_frame_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
