/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/endpoint.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static void
every_transport_is_understood(void **state)
{
    struct vsh_endpoint e;

    (void)state;
    assert_int_equal(vsh_endpoint_parse("hybrid:/run/vm.a", &e, NULL), 0);
    assert_int_equal(e.kind, VSH_ENDPOINT_HYBRID);
    assert_string_equal(e.address, "/run/vm.a");
    assert_int_equal(vsh_endpoint_parse("vsock:4294967294", &e, NULL), 0);
    assert_int_equal(e.kind, VSH_ENDPOINT_VSOCK);
    assert_int_equal(e.cid, 4294967294u);
    assert_int_equal(vsh_endpoint_parse("tcp:::1", &e, NULL), 0);
    assert_string_equal(e.address, "::1");
    assert_int_equal(vsh_endpoint_parse("unix:/s", &e, NULL), 0);
    assert_int_equal(e.kind, VSH_ENDPOINT_UNIX);
}

static void
everything_else_is_refused(void **state)
{
    static const char *const bad[] = {
        "",        "hybrid",  "hybrid:",          "pigeon:1",
        "vsock:2", "vsock:x", "vsock:4294967295", "vsock:"};
    struct vsh_endpoint e;
    struct vmt_err err;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++)
        assert_int_equal(vsh_endpoint_parse(bad[i], &e, &err), -EINVAL);
}

static void
an_address_that_does_not_fit_is_refused(void **state)
{
    static char text[8 + VSH_ENDPOINT_ADDRESS_MAX] = "unix:";
    struct vsh_endpoint e;

    (void)state;
    memset(text + 5, 'x', VSH_ENDPOINT_ADDRESS_MAX);
    assert_int_equal(vsh_endpoint_parse(text, &e, NULL), -EINVAL);
    text[5 + VSH_ENDPOINT_ADDRESS_MAX - 1] = '\0';
    assert_int_equal(vsh_endpoint_parse(text, &e, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transport_is_understood),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(an_address_that_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
