/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "tests/unit/test.h"

struct target {
    const char *value;
    bool flag;
};

static int
set_value(void *target, const char *value, struct vmt_err *err)
{
    if (strcmp(value, "bad") == 0)
        return vmt_err_setx(err, EINVAL, "bad is bad");
    ((struct target *)target)->value = value;
    return 0;
}

static int
set_flag(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    assert_null(value);
    ((struct target *)target)->flag = true;
    return 0;
}

static const struct vmc_option options[] = {
    {"value", true, set_value}, {"flag", false, set_flag}, {0}};

struct parsed {
    struct vmc vmc;
    struct target target;
    char **operands;
    size_t n;
    bool help;
    struct vmt_err err;
};

static int
parse(struct parsed *p, enum vmc_order order, char **argv)
{
    struct vmc_syntax syntax = {
        .options = options, .order = order, .operands_min = 1, .operands_max = 2};
    int argc = 0;

    while (argv[argc])
        argc++;
    *p = (struct parsed){.n = 0};
    return vmc_parse(&p->vmc, argc, argv, &syntax, &p->target, &p->operands, &p->n,
                     &p->help, &p->err);
}
#define WORDS(...) ((char *[]){"command", __VA_ARGS__, NULL})

static void
options_and_operands_may_be_mixed(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(
        parse(&p, VMC_ORDER_ANY, WORDS("a", "--value", "x", "b", "--flag", "--json")), 0);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.operands[0], "a");
    assert_string_equal(p.operands[1], "b");
    assert_string_equal(p.target.value, "x");
    assert_true(p.target.flag);
    assert_true(p.vmc.json);
}

static void
the_first_operand_can_end_the_options(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(parse(&p, VMC_ORDER_FIRST, WORDS("--flag", "vm", "--value")), 0);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.operands[1], "--value");
    assert_null(p.target.value);
}

static void
what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *word, *said;
    } cases[] = {
        {"--nonsense", "--nonsense"},  {"--value", "--value wants a value"},
        {"--value=bad", "bad is bad"}, {"--owner=xyz", "hexadecimal"},
        {"--owner=", "hexadecimal"},
    };
    struct parsed p;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        char word[32];

        (void)strcpy(word, cases[i].word);
        assert_int_equal(parse(&p, VMC_ORDER_ANY, WORDS("a", word)), -EINVAL);
        assert_non_null(strstr(p.err.msg, cases[i].said));
    }
}

static void
the_number_of_operands_is_checked(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(parse(&p, VMC_ORDER_ANY, WORDS("--flag")), -EINVAL);
    assert_int_equal(parse(&p, VMC_ORDER_ANY, WORDS("a", "b", "surplus")), -EINVAL);
    assert_non_null(strstr(p.err.msg, "surplus"));
}

static void
help_comes_before_every_other_check(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(parse(&p, VMC_ORDER_ANY, WORDS("--help", "--nonsense")), 0);
    assert_true(p.help);
}

static void
an_owner_may_be_given(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(parse(&p, VMC_ORDER_ANY, WORDS("a", "--owner", "0aF9")), 0);
    assert_string_equal(p.vmc.owner, "0aF9");
}

static void
the_owner_comes_from_the_environment_or_the_uid(void **state)
{
    VMT_CLEANUP(vmc_done) struct vmc one = {0};
    VMT_CLEANUP(vmc_done) struct vmc two = {0};
    char dir[] = "/tmp/vmc-test.XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)setenv("XDG_RUNTIME_DIR", dir, 1);
    (void)setenv("XDG_STATE_HOME", dir, 1);
    (void)setenv("XDG_DATA_HOME", dir, 1);
    (void)setenv("XDG_CACHE_HOME", dir, 1);
    (void)setenv("VMC_OWNER", "abc", 1);
    assert_int_equal(vmc_init(&one, NULL), 0);
    assert_string_equal(one.owner, "abc");
    (void)unsetenv("VMC_OWNER");
    assert_int_equal(vmc_init(&two, NULL), 0);
    assert_int_equal(strncmp(two.owner, "7569643a", 8), 0); /* "uid:" */
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

static void
what_all_commands_take_may_stand_before_the_command(void **state)
{
    static const struct {
        const char *words[6], *want[6];
    } rows[] = {
        {{"vmc", "list"}, {"vmc", "list"}},
        {{"vmc", "--json", "list", "x"}, {"vmc", "list", "--json", "x"}},
        {{"vmc", "--owner", "12", "--system", "list"},
         {"vmc", "list", "--owner", "12", "--system"}},
        {{"vmc", "--owner=12", "--json", "info", "a"},
         {"vmc", "info", "--owner=12", "--json", "a"}},
        {{"vmc", "--jsonx", "list"}, {"vmc", "--jsonx", "list"}},
        {{"vmc", "--help"}, {"vmc", "--help"}},
        {{"vmc", "--json"}, {"vmc", "--json"}},
        {{"vmc", "--owner"}, {"vmc", "--owner"}},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        char *argv[6];
        int argc = 0;

        for (; argc < 6 && rows[i].words[argc]; argc++)
            argv[argc] = (char *)(uintptr_t)rows[i].words[argc];
        vmc_command_first(argc, argv);
        for (int k = 0; k < argc; k++)
            assert_string_equal(argv[k], rows[i].want[k]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_operands_may_be_mixed),
        cmocka_unit_test(what_all_commands_take_may_stand_before_the_command),
        cmocka_unit_test(the_first_operand_can_end_the_options),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(the_number_of_operands_is_checked),
        cmocka_unit_test(help_comes_before_every_other_check),
        cmocka_unit_test(an_owner_may_be_given),
        cmocka_unit_test(the_owner_comes_from_the_environment_or_the_uid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
