/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/text/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <text_test.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static void
all_freep(TextTest__All **all)
{
    if (*all)
        text_test__all__free_unpacked(*all, NULL);
}

static int
parse_len(const char *text, size_t len, TextTest__All **ret, struct vmt_err *err)
{
    ProtobufCMessage *message = NULL;
    int r = text_parse(&text_test__all__descriptor, text, len, &message, err);

    *ret = (TextTest__All *)message;
    return r;
}

static TextTest__All *
parse(const char *text)
{
    struct vmt_err err = {0};
    TextTest__All *all;

    if (parse_len(text, strlen(text), &all, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return all;
}

static void
assert_refused(const char *text, const char *words)
{
    struct vmt_err err = {0};
    TextTest__All *all;

    assert_int_equal(parse_len(text, strlen(text), &all, &err), -EINVAL);
    assert_null(all);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.msg);
}

static void
every_scalar_is_read(void **state)
{
    VMT_CLEANUP(all_freep)
    TextTest__All *all =
        parse("i32: -2147483648 s32: 2147483647, sf32: -1; i64: -9223372036854775808\n"
              "s64: 0x7fffffffffffffff sf64: -010 u32: 4294967295 f32: 0xFFffFFff\n"
              "u64: 18446744073709551615 f64: 0 real: 1.5f wide: -2.5e-3 flag: true\n"
              "color: RED text: 'a' blob: \"\\001\\xff\"");

    (void)state;
    assert_true(all->i32 == INT32_MIN && all->s32 == INT32_MAX && all->sf32 == -1);
    assert_true(all->i64 == INT64_MIN && all->s64 == INT64_MAX && all->sf64 == -8);
    assert_true(all->u32 == UINT32_MAX && all->f32 == UINT32_MAX);
    assert_true(all->u64 == UINT64_MAX && all->f64 == 0);
    assert_true(all->real == 1.5f && all->wide == -2.5e-3);
    assert_true(all->flag);
    assert_int_equal(all->color, TEXT_TEST__COLOR__RED);
    assert_string_equal(all->text, "a");
    assert_int_equal(all->blob.len, 2);
    assert_memory_equal(all->blob.data, "\001\xff", 2);
}

static void
words_stand_for_real_numbers(void **state)
{
    VMT_CLEANUP(all_freep) TextTest__All *all = parse("real: -inf wide: nan");
    VMT_CLEANUP(all_freep) TextTest__All *other = parse("real: .5 wide: 7");

    (void)state;
    assert_true(isinf(all->real) && all->real < 0 && isnan(all->wide));
    assert_true(other->real == 0.5f && other->wide == 7.0);
}

static void
numbers_outside_their_type_are_refused(void **state)
{
    (void)state;
    assert_refused("i32: 2147483648", "out of range");
    assert_refused("i32: -2147483649", "out of range");
    assert_refused("u32: 4294967296", "out of range");
    assert_refused("u32: -1", "whole number");
    assert_refused("u64: 18446744073709551616", "out of range");
    assert_refused("i64: 9223372036854775808", "out of range");
    assert_refused("i32: 1.5", "whole number");
    assert_refused("i32: 08", "whole number");
    assert_refused("i32: 0x", "whole number");
    assert_refused("i32: 12ab", "whole number");
    assert_refused("real: 1.5x", "expected a number");
    assert_refused("flag: 2", "out of range");
    assert_refused("flag: yes", "true or false");
    assert_refused("i32: 'a'", "whole number");
}

static void
strings_are_joined_and_unescaped(void **state)
{
    VMT_CLEANUP(all_freep)
    TextTest__All *all = parse("text: 'it\\'s' \" \\\"q\\\"\" # comment\n"
                               " '\\n\\t\\\\\\101\\x42\\u00e9\\U0001F600'");

    (void)state;
    assert_string_equal(all->text, "it's \"q\"\n\t\\AB\xc3\xa9\xf0\x9f\x98\x80");
}

static void
bad_strings_are_refused(void **state)
{
    (void)state;
    assert_refused("text: 'a", "does not end");
    assert_refused("text: 'a\nb'", "does not end");
    assert_refused("text: 'a\\\nb'", "does not end");
    assert_refused("text: '\\q'", "escape");
    assert_refused("text: '\\xzz'", "escape");
    assert_refused("text: '\\u12'", "escape");
    assert_refused("text: '\\ud800'", "escape");
    assert_refused("text: '\\U00110000'", "escape");
    assert_refused("text: '\\400'", "escape");
    assert_refused("text: '\\000'", "UTF-8");
    assert_refused("text: '\\xff'", "UTF-8");
    assert_refused("text: '\\xc0\\x80'", "UTF-8");
    assert_refused("text: '\\xed\\xa0\\x80'", "UTF-8");
    assert_refused("text: '\\xe2\\x82'", "UTF-8");
    assert_refused("text: a", "quoted string");
}

static void
enums_go_by_name_and_by_known_number(void **state)
{
    VMT_CLEANUP(all_freep) TextTest__All *all = parse("colors: [RED, 1, -3, BLACK]");

    (void)state;
    assert_int_equal(all->n_colors, 4);
    assert_int_equal(all->colors[0], 1);
    assert_int_equal(all->colors[1], 1);
    assert_int_equal(all->colors[2], -3);
    assert_int_equal(all->colors[3], 0);
    assert_refused("color: GREEN", "no such value of text_test.Color");
    assert_refused("color: 7", "no such value");
}

static void
repeated_fields_grow_by_lists_and_by_repetition(void **state)
{
    VMT_CLEANUP(all_freep)
    TextTest__All *all =
        parse("numbers: 1 numbers: [2, 3,4] numbers: [] numbers: 5\n"
              "words: ['a' 'b', 'c'] blobs: ['x', ''] flags: [t, false]\n"
              "reals: [1, 2.5] children: [{i32: 1}, <i32: 2>]\n"
              "children { i32: 3 }");

    (void)state;
    assert_int_equal(all->n_numbers, 5);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(all->numbers[i], i + 1);
    assert_int_equal(all->n_words, 2);
    assert_string_equal(all->words[0], "ab");
    assert_int_equal(all->n_blobs, 2);
    assert_int_equal(all->blobs[1].len, 0);
    assert_true(all->n_flags == 2 && all->flags[0] && !all->flags[1]);
    assert_true(all->n_reals == 2 && all->reals[1] == 2.5);
    assert_int_equal(all->n_children, 3);
    assert_int_equal(all->children[2]->i32, 3);
    assert_refused("numbers: [1 2]", "expected ',' or ']'");
    assert_refused("numbers: [1,]", "whole number");
    assert_refused("numbers: [1", "expected ',' or ']'");
    assert_refused("i32: [1]", "whole number");
}

static void
maps_are_messages_with_key_and_value(void **state)
{
    VMT_CLEANUP(all_freep)
    TextTest__All *all = parse("env { key: 'PATH' value: '/bin' } env: <key: 'A'>");

    (void)state;
    assert_int_equal(all->n_env, 2);
    assert_string_equal(all->env[0]->key, "PATH");
    assert_string_equal(all->env[0]->value, "/bin");
    assert_string_equal(all->env[1]->key, "A");
    assert_string_equal(all->env[1]->value, "");
}

static void
nested_messages_need_no_colon_and_end_as_they_began(void **state)
{
    VMT_CLEANUP(all_freep)
    TextTest__All *all = parse("child { child: < text: 'deep' > i32: 4 };");

    (void)state;
    assert_string_equal(all->child->child->text, "deep");
    assert_int_equal(all->child->i32, 4);
    assert_refused("child { i32: 1 >", "expected a field name");
    assert_refused("child { i32: 1", "expected '}', at the end");
    assert_refused("child: 5", "expected '{'");
    assert_refused("i32 5", "expected ':'");
    assert_refused("i32: 5 }", "expected a field name");
}

static void
one_member_of_a_oneof_is_enough(void **state)
{
    VMT_CLEANUP(all_freep) TextTest__All *all = parse("name: 'n'");
    VMT_CLEANUP(all_freep) TextTest__All *nested = parse("nested { number: 4 }");

    (void)state;
    assert_int_equal(all->choice_case, TEXT_TEST__ALL__CHOICE_NAME);
    assert_string_equal(all->name, "n");
    assert_int_equal(nested->nested->number, 4);
    assert_refused("name: 'n' number: 3", "another member");
    assert_refused("nested {} name: 'n'", "another member");
}

static void
errors_name_the_place(void **state)
{
    (void)state;
    assert_refused("i32: 1\n  nofield: 2\n",
                   "line 2, column 3: text_test.All has no such field, at 'nofield'");
    assert_refused("# one\n\n\tchild {\n i32: x }", "line 4, column 7: ");
    assert_refused("i32: 1 i32: 2", "i32 is given twice");
    assert_refused("[a.b]: 3", "not supported");
    assert_refused("\x01", "at '\\x01'");
}

static void
depth_and_size_are_limited(void **state)
{
    static char text[TEXT_SIZE_MAX + 1];
    struct vmt_err err;
    TextTest__All *all;
    size_t at = 0;

    (void)state;
    for (int i = 0; i < TEXT_DEPTH_MAX; i++)
        at += (size_t)sprintf(text + at, "child{");
    memset(text + at, '}', TEXT_DEPTH_MAX);
    assert_int_equal(parse_len(text, at + TEXT_DEPTH_MAX, &all, &err), 0);
    all_freep(&all);
    at += (size_t)sprintf(text + at, "child{");
    memset(text + at, '}', TEXT_DEPTH_MAX + 1);
    assert_int_equal(parse_len(text, at + TEXT_DEPTH_MAX + 1, &all, &err), -EINVAL);
    memset(text, ' ', sizeof(text));
    assert_int_equal(parse_len(text, TEXT_SIZE_MAX, &all, &err), 0);
    all_freep(&all);
    assert_int_equal(parse_len(text, TEXT_SIZE_MAX + 1, &all, &err), -EFBIG);
}

/* Under the sanitizers this shows that nothing is read past the end and nothing leaks. */
static void
text_cut_anywhere_is_read_or_refused(void **state)
{
    static const char whole[] =
        "i32: -0x1f text: 'a\\x41\\u00e9' \"b\" child < numbers: [1, 2] env { key: 'k' "
        "value: 'v' } > children: [{ blob: '\\377' }, {}] wide: 1.5e+3; nested { name: "
        "'x' } # end";

    (void)state;
    for (size_t n = 0; n < sizeof(whole); n++) {
        char *exact = malloc(n ? n : 1);
        TextTest__All *all = NULL;
        struct vmt_err err;
        int r;

        assert_non_null(exact);
        memcpy(exact, whole, n);
        r = parse_len(exact, n, &all, &err);
        assert_true(r == 0 || r == -EINVAL);
        all_freep(&all);
        free(exact);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_is_read),
        cmocka_unit_test(words_stand_for_real_numbers),
        cmocka_unit_test(numbers_outside_their_type_are_refused),
        cmocka_unit_test(strings_are_joined_and_unescaped),
        cmocka_unit_test(bad_strings_are_refused),
        cmocka_unit_test(enums_go_by_name_and_by_known_number),
        cmocka_unit_test(repeated_fields_grow_by_lists_and_by_repetition),
        cmocka_unit_test(maps_are_messages_with_key_and_value),
        cmocka_unit_test(nested_messages_need_no_colon_and_end_as_they_began),
        cmocka_unit_test(one_member_of_a_oneof_is_enough),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(depth_and_size_are_limited),
        cmocka_unit_test(text_cut_anywhere_is_read_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
