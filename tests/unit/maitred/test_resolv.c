/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/resolv.h"

#include <errno.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

#define OPTIONS "options single-request timeout:1 attempts:5\n"

static char *servers[] = {"10.0.2.3", "2001:db8::1", "fe80::1%eth0", "1.1.1.1",
                          "9.9.9.9"};
static char *domains[] = {"lan", "sub_1.example.org."};

static void
assert_text(size_t nservers, size_t ndomains, const char *expected)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};

    assert_int_equal(resolv_format(servers, nservers, domains, ndomains, &out, NULL), 0);
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.data, expected, out.len);
}

static void
the_file_is_exact_for_any_number_of_servers(void **state)
{
    (void)state;
    assert_text(0, 0, OPTIONS);
    assert_text(1, 0, "nameserver 10.0.2.3\n" OPTIONS);
    assert_text(5, 0,
                "nameserver 10.0.2.3\nnameserver 2001:db8::1\n"
                "nameserver fe80::1%eth0\n" OPTIONS);
    assert_text(1, 2, "nameserver 10.0.2.3\nsearch lan sub_1.example.org.\n" OPTIONS);
}

static void
assert_refused(char *server, char *domain, const char *words)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};
    struct vmt_err err = {0};

    assert_int_equal(
        resolv_format(&server, server ? 1 : 0, &domain, domain ? 1 : 0, &out, &err),
        -EINVAL);
    assert_non_null(strstr(err.msg, words));
    assert_null(strchr(err.msg, '\n'));
}

static void
lines_cannot_be_smuggled_in(void **state)
{
    static char long_name[300];

    (void)state;
    memset(long_name, 'a', sizeof(long_name) - 1);
    assert_refused("1.1.1.1\nnameserver 6.6.6.6", NULL, "name server");
    assert_refused("fe80::1%e\n", NULL, "name server");
    assert_refused("fe80::1%", NULL, "name server");
    assert_refused("example.org", NULL, "name server");
    assert_refused("", NULL, "name server");
    assert_refused("1.1.1", NULL, "name server");
    assert_refused(NULL, "lan\noptions", "domain");
    assert_refused(NULL, "two words", "domain");
    assert_refused(NULL, "", "domain");
    assert_refused(NULL, "\xc3\xa9.org", "domain");
    assert_refused(NULL, long_name, "domain");
    assert_refused(long_name, NULL, "name server");
}

static void
servers_beyond_the_third_are_checked_too(void **state)
{
    char *list[] = {"1.1.1.1", "1.1.1.2", "1.1.1.3", "x\ny"};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};

    (void)state;
    assert_int_equal(resolv_format(list, 4, NULL, 0, &out, NULL), -EINVAL);
}

static void
too_many_domains_are_refused(void **state)
{
    char *list[RESOLV_DOMAINS_MAX + 1];
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(list); i++)
        list[i] = "lan";
    assert_int_equal(resolv_format(NULL, 0, list, VMT_ARRAY_SIZE(list), &out, NULL),
                     -EINVAL);
    assert_int_equal(resolv_format(NULL, 0, list, RESOLV_DOMAINS_MAX, &out, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_exact_for_any_number_of_servers),
        cmocka_unit_test(lines_cannot_be_smuggled_in),
        cmocka_unit_test(servers_beyond_the_third_are_checked_too),
        cmocka_unit_test(too_many_domains_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
