/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/forward.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static void
every_form_means_what_ssh_makes_of_it(void **state)
{
    static const struct {
        const char *text;
        struct vsh_address listen, connect;
    } rows[] = {
        {"8080:web:80", {"", 8080, "", false}, {"web", 80, "", false}},
        {"0:localhost:80", {"", 0, "", false}, {"localhost", 80, "", false}},
        {"10.0.0.1:8080:web:80", {"10.0.0.1", 8080, "", false}, {"web", 80, "", false}},
        {"*:8080:web:80", {"*", 8080, "", false}, {"web", 80, "", false}},
        {":8080:web:80", {"*", 8080, "", false}, {"web", 80, "", false}},
        {"[::1]:8080:[fe80::1]:80", {"::1", 8080, "", false}, {"fe80::1", 80, "", false}},
        {"8080:/run/x", {"", 8080, "", false}, {"", 0, "/run/x", false}},
        {"localhost:8080:/run/x",
         {"localhost", 8080, "", false},
         {"", 0, "/run/x", false}},
        {"/run/y:web:80", {"", 0, "/run/y", false}, {"web", 80, "", false}},
        {"/run/y:/run/x", {"", 0, "/run/y", false}, {"", 0, "/run/x", false}},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        VMT_CLEANUP(vsh_forward_spec_done) struct vsh_forward_spec spec = {.text = NULL};

        assert_int_equal(vsh_forward_parse(rows[i].text, &spec, NULL), 0);
        assert_string_equal(spec.listen.host, rows[i].listen.host);
        assert_int_equal(spec.listen.port, rows[i].listen.port);
        assert_string_equal(spec.listen.path, rows[i].listen.path);
        assert_string_equal(spec.connect.host, rows[i].connect.host);
        assert_int_equal(spec.connect.port, rows[i].connect.port);
        assert_string_equal(spec.connect.path, rows[i].connect.path);
    }
}

static void
what_makes_no_sense_is_refused_with_its_text(void **state)
{
    static const char *const texts[] = {
        "",           "80",          "80:web",         "80:web:",     "80:web:x",
        "80:web:0",   "80::80",      "65536:web:80",   "web:80",      "x:web:80",
        "a:b:c:d:e",  "[::1:80:w:8", "[::1]80:web:80", "a:80:/x:/y",  "/x",
        "/x:1:web:8", "-1:web:80",   "80:web:80:/x:y", "1:2:3:4:5:6",
    };
    char longer[300];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(texts); i++) {
        struct vsh_forward_spec spec;
        struct vmt_err err;

        assert_int_equal(vsh_forward_parse(texts[i], &spec, &err), -EINVAL);
        assert_non_null(strstr(err.msg, "forward "));
    }
    memset(longer, 'x', sizeof(longer));
    memcpy(longer, "80:/", 4);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(vsh_forward_parse(longer, &(struct vsh_forward_spec){0}, NULL),
                     -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_means_what_ssh_makes_of_it),
        cmocka_unit_test(what_makes_no_sense_is_refused_with_its_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
