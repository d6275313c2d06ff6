/* SPDX-License-Identifier: BSD-3-Clause */
/* What of a guest's bytes reaches a descriptor of ours. */
#include "platform/linux/vsh/sink.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "tests/unit/test.h"

/* Write text through a sink to a pipe. Returns the bytes that came out. */
static size_t
through(bool plain, const char *text, size_t len, char *out, size_t cap)
{
    struct sink sink = {.plain = plain};
    struct os_loop *loop;
    struct vmt_err err;
    int pair[2];
    ssize_t n;

    assert_int_equal(os_loop_new(&loop, &err), 0);
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(sink_open(&sink, loop, pair[1], &err), 0);
    assert_int_equal(sink_write(&sink, (const uint8_t *)text, len), 0);
    n = read(pair[0], out, cap);
    assert_true(n >= 0);
    sink_close(&sink);
    (void)close(pair[0]);
    (void)close(pair[1]);
    os_loop_free(loop);
    return (size_t)n;
}

static void
a_plain_sink_lets_nothing_through_that_moves_a_cursor(void **state)
{
    static const char text[] = "\x1b]0;title\x07no \xc2\x9b"
                               "2Jway\t\r\nnext\x7f\n";
    static const char want[] = "?]0;title?no ??2Jway??\nnext?\n";
    char out[256];

    (void)state;
    assert_int_equal(through(true, text, sizeof(text) - 1, out, sizeof(out)),
                     sizeof(want) - 1);
    assert_memory_equal(out, want, sizeof(want) - 1);
}

static void
a_plain_sink_takes_more_than_one_piece(void **state)
{
    char text[1500], out[2000];

    (void)state;
    memset(text, 0x1b, sizeof(text));
    text[700] = 'x';
    assert_int_equal(through(true, text, sizeof(text), out, sizeof(out)), sizeof(text));
    for (size_t i = 0; i < sizeof(text); i++)
        assert_int_equal(out[i], i == 700 ? 'x' : '?');
}

static void
what_a_command_writes_arrives_as_it_is(void **state)
{
    static const char text[] = "\x1b[2J\0\xff\r\n";
    char out[64];

    (void)state;
    assert_int_equal(through(false, text, sizeof(text), out, sizeof(out)), sizeof(text));
    assert_memory_equal(out, text, sizeof(text));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_sink_lets_nothing_through_that_moves_a_cursor),
        cmocka_unit_test(a_plain_sink_takes_more_than_one_piece),
        cmocka_unit_test(what_a_command_writes_arrives_as_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
