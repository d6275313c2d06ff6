/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/words.h"

#include <stdlib.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

#define SPLIT(words, ...)                                                                \
    vsh_words_split((char *[]){__VA_ARGS__},                                             \
                    sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), words, NULL)

static void
variables_come_before_the_command(void **state)
{
    VMT_CLEANUP(vsh_words_done) struct vsh_words w = {0};

    (void)state;
    (void)unsetenv("TERM");
    assert_int_equal(SPLIT(&w, "A=b", "_9=", "C=d=e", "cmd", "X=y"), 0);
    assert_int_equal(w.nenv, 3);
    assert_string_equal(w.env[0].name, "A");
    assert_string_equal(w.env[0].value, "b");
    assert_string_equal(w.env[1].name, "_9");
    assert_string_equal(w.env[1].value, "");
    assert_string_equal(w.env[2].value, "d=e");
    assert_int_equal(w.argc, 2);
    assert_string_equal(w.argv[0], "cmd");
    assert_string_equal(w.argv[1], "X=y");
}

static void
a_word_that_is_no_variable_begins_the_command(void **state)
{
    static char *const words[] = {"=x", "9A=x", "a-b=x", "./a=b", "plain"};

    (void)state;
    (void)unsetenv("TERM");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(words); i++) {
        VMT_CLEANUP(vsh_words_done) struct vsh_words w = {0};

        assert_int_equal(SPLIT(&w, words[i]), 0);
        assert_int_equal(w.nenv, 0);
        assert_int_equal(w.argc, 1);
    }
}

static void
our_terminal_type_comes_first(void **state)
{
    VMT_CLEANUP(vsh_words_done) struct vsh_words w = {0};

    (void)state;
    (void)setenv("TERM", "vt100", 1);
    assert_int_equal(SPLIT(&w, "TERM=other"), 0);
    assert_int_equal(w.nenv, 2);
    assert_string_equal(w.env[0].value, "vt100");
    assert_string_equal(w.env[1].value, "other");
    assert_int_equal(w.argc, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_come_before_the_command),
        cmocka_unit_test(a_word_that_is_no_variable_begins_the_command),
        cmocka_unit_test(our_terminal_type_comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
