/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#include "core/base/cleanup.h"
#include "platform/linux/vsh/escape.h"

/* What the guest gets of typed, and the actions in brackets. */
static void
type(int character, size_t piece, const char *typed, char *got, size_t cap)
{
    static const char *const names[] = {"", "[end]", "[help]", "[suspend]"};
    struct vsh_escape e = {.character = character};
    size_t len = strlen(typed);

    *got = '\0';
    while (len > 0) {
        enum vsh_escape_action action;
        uint8_t out[64];
        char text[65];
        size_t n, want = len < piece ? len : piece;
        size_t taken =
            vsh_escape_take(&e, (const uint8_t *)typed, want, out, &n, &action);

        assert_true(taken > 0 && taken <= want);
        assert_true(n <= want + 1);
        memcpy(text, out, n);
        text[n] = '\0';
        assert_true(strlen(got) + n + 10 < cap);
        strcat(strcat(got, text), names[action]);
        typed += taken;
        len -= taken;
    }
}

static void
expect(int character, const char *typed, const char *want)
{
    for (size_t piece = 1; piece <= strlen(typed); piece++) {
        char got[128];

        type(character, piece, typed, got, sizeof(got));
        assert_string_equal(got, want);
    }
}

static void
the_character_counts_at_the_beginning_of_a_line_only(void **state)
{
    (void)state;
    expect('~', "~.", "[end]");
    expect('~', "ls\r~.", "ls\r[end]");
    expect('~', "ls\n~.", "ls\n[end]");
    expect('~', "ls ~.", "ls ~.");
    expect('~', "cd ~/x\r", "cd ~/x\r");
}

static void
what_follows_decides(void **state)
{
    (void)state;
    expect('~', "~?~?", "[help][help]");
    expect('~', "~\x1a", "[suspend]");
    expect('~', "~~.", "~.");
    expect('~', "~~~", "~~");
    expect('~', "~/bin\r", "~/bin\r");
    expect('~', "~\r~.", "~\r[end]");
    expect('~', "\r~x~.", "\r~x~.");
}

static void
another_character_or_none_can_be_chosen(void **state)
{
    int c = 0;

    (void)state;
    expect('%', "~.\r%.", "~.\r[end]");
    expect(VSH_ESCAPE_NONE, "~.\r~.", "~.\r~.");
    assert_int_equal(vsh_escape_parse("%", &c), 0);
    assert_int_equal(c, '%');
    assert_int_equal(vsh_escape_parse("^]", &c), 0);
    assert_int_equal(c, 0x1d);
    assert_int_equal(vsh_escape_parse("^b", &c), 0);
    assert_int_equal(c, 2);
    assert_int_equal(vsh_escape_parse("none", &c), 0);
    assert_int_equal(c, VSH_ESCAPE_NONE);
    assert_int_equal(vsh_escape_parse("", &c), -EINVAL);
    assert_int_equal(vsh_escape_parse("ab", &c), -EINVAL);
    assert_int_equal(vsh_escape_parse("^@", &c), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_character_counts_at_the_beginning_of_a_line_only),
        cmocka_unit_test(what_follows_decides),
        cmocka_unit_test(another_character_or_none_can_be_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
