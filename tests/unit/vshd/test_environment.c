/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/environment.h"

#include <string.h>

#include "core/base/cleanup.h"
#include "core/vsh/message.h"
#include "platform/guest/vshd/account.h"
#include "tests/unit/test.h"

static struct account bob = {
    .name = "bob", .uid = 1000, .home = "/home/bob", .shell = "/bin/zsh"};

/* The value of name in env; NULL if it is not there, fails if it is there twice. */
static const char *
value_of(const struct vmt_argv *env, const char *name)
{
    const char *value = NULL;
    size_t len = strlen(name);

    for (size_t i = 0; i < env->n; i++)
        if (strncmp(env->v[i], name, len) == 0 && env->v[i][len] == '=') {
            assert_null(value);
            value = env->v[i] + len + 1;
        }
    return value;
}

static void
an_account_gives_the_usual_variables(void **state)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv env = {0};
    struct vsh_request request = {0};

    (void)state;
    assert_int_equal(environment_build(NULL, &bob, &request, &env), 0);
    assert_string_equal(value_of(&env, "HOME"), "/home/bob");
    assert_string_equal(value_of(&env, "SHELL"), "/bin/zsh");
    assert_string_equal(value_of(&env, "USER"), "bob");
    assert_string_equal(value_of(&env, "LOGNAME"), "bob");
    assert_string_equal(value_of(&env, "TERM"), "linux");
    assert_null(strstr(value_of(&env, "PATH"), "sbin"));
    assert_int_equal(env.n, 6);
}

static void
root_finds_the_programs_of_an_administrator(void **state)
{
    static struct account root = {.name = "root", .home = "/root", .shell = "/bin/sh"};
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv env = {0};
    struct vsh_request request = {0};

    (void)state;
    assert_int_equal(environment_build(NULL, &root, &request, &env), 0);
    assert_non_null(strstr(value_of(&env, "PATH"), "/usr/sbin"));
}

static void
the_request_wins_over_the_account_and_that_over_the_daemon(void **state)
{
    static const char *const inherited[] = {"HOME=/daemon", "KEEP=1", "PATH=/daemon/bin",
                                            "USER=daemon", NULL};
    static const struct vsh_env asked[] = {
        {"TERM", "xterm"}, {"USER", "asked"}, {"TERM", "vt52"}, {"EMPTY", ""}};
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv env = {0};
    struct vsh_request request = {.env = asked, .nenv = VMT_ARRAY_SIZE(asked)};

    (void)state;
    assert_int_equal(environment_build(inherited, &bob, &request, &env), 0);
    assert_string_equal(value_of(&env, "HOME"), "/home/bob");
    assert_string_equal(value_of(&env, "KEEP"), "1");
    assert_string_equal(value_of(&env, "PATH"), "/daemon/bin");
    assert_string_equal(value_of(&env, "USER"), "asked");
    assert_string_equal(value_of(&env, "TERM"), "vt52");
    assert_string_equal(value_of(&env, "EMPTY"), "");
}

static void
impossible_names_are_left_out(void **state)
{
    static const struct vsh_env asked[] = {{"", "x"}, {"A=B", "x"}};
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv env = {0};
    struct vsh_request request = {.env = asked, .nenv = VMT_ARRAY_SIZE(asked)};

    (void)state;
    assert_int_equal(environment_build(NULL, &bob, &request, &env), 0);
    assert_int_equal(env.n, 6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_gives_the_usual_variables),
        cmocka_unit_test(root_finds_the_programs_of_an_administrator),
        cmocka_unit_test(the_request_wins_over_the_account_and_that_over_the_daemon),
        cmocka_unit_test(impossible_names_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
