/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "core/base/cleanup.h"
#include "core/rpc/descriptor_internal.h"
#include "extend.file.h"
#include "proto/file.h"
#include "test.file.h"
#include "tests/unit/test.h"

#define BASE "vmt.rpctest.more.Base"

static void
every_kind_of_name_is_found(void **state)
{
    static const struct {
        const char *name;
        enum descriptor_kind kind;
    } names[] = {
        {BASE, DESCRIPTOR_MESSAGE},
        {BASE ".Inner", DESCRIPTOR_MESSAGE},
        {BASE ".Inner.kind", DESCRIPTOR_MEMBER},
        {BASE ".Inner.which", DESCRIPTOR_MEMBER},
        {BASE ".Inner.Kind", DESCRIPTOR_ENUM},
        {BASE ".Inner.SOME", DESCRIPTOR_MEMBER},
        {BASE ".Inner.nested", DESCRIPTOR_MEMBER},
        {"vmt.rpctest.more.plain", DESCRIPTOR_MEMBER},
        {"vmt.rpctest.more.More", DESCRIPTOR_SERVICE},
        {"vmt.rpctest.more.More.Nothing", DESCRIPTOR_MEMBER},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        assert_int_equal(descriptor_find(&proto_file_extend, names[i].name),
                         names[i].kind);
}

static void
nothing_else_is_found(void **state)
{
    static const char *const names[] = {
        "",
        ".",
        "vmt",
        "vmt.rpctest.more",
        "vmt.rpctest.more.",
        "vmt.rpctest.mor",
        "vmt.rpctest.morE.Base",
        "." BASE,
        BASE ".",
        BASE "..Inner",
        BASE "X",
        BASE ".Inner.Kind.SOME",
        BASE ".Inner.SOME.x",
        BASE ".Inner.kind.x",
        BASE ".kind",
        "vmt.rpctest.more.Bas",
        "vmt.rpctest.Request", /* imported only */
        "vmt.rpctest.more.More.Nothing.x",
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        assert_int_equal(descriptor_find(&proto_file_extend, names[i]), DESCRIPTOR_NONE);
}

static void
extensions_are_found_on_every_level(void **state)
{
    int32_t numbers[3] = {0};

    (void)state;
    assert_int_equal(descriptor_extensions(&proto_file_extend, BASE, numbers, 3), 2);
    assert_int_equal(numbers[0] + numbers[1], 120 + 150);
    assert_int_equal(numbers[2], 0);
    numbers[1] = 7;
    assert_int_equal(descriptor_extensions(&proto_file_extend, BASE, numbers, 1), 2);
    assert_int_equal(numbers[1], 7); /* no more than there is room for */
    assert_int_equal(descriptor_extensions(&proto_file_extend, BASE, NULL, 0), 2);
    assert_int_equal(descriptor_extensions(&proto_file_test, BASE, NULL, 0), 0);
    assert_true(descriptor_extends(&proto_file_extend, BASE, 120));
    assert_true(descriptor_extends(&proto_file_extend, BASE, 150));
    assert_false(descriptor_extends(&proto_file_extend, BASE, 130));
    assert_false(descriptor_extends(&proto_file_extend, BASE, 0));
    assert_true(descriptor_extends(&proto_file_extend, "vmt.rpctest.more.Other", 130));
}

/* A file that is cut, or whose bytes are wrong, gives nothing or less, and is not read
 * beyond its end: the sanitizer says so. */
static void
a_broken_file_is_no_harm(void **state)
{
    struct proto_file file = proto_file_extend;

    (void)state;
    for (size_t len = 0; len <= proto_file_extend.len; len++) {
        VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len ? len : 1);

        assert_non_null(bytes);
        memcpy(bytes, proto_file_extend.bytes, len);
        file.bytes = bytes;
        file.len = len;
        (void)descriptor_find(&file, BASE ".Inner.SOME");
        (void)descriptor_extends(&file, BASE, 150);
        for (size_t i = 0; i < len; i += 7) {
            bytes[i] ^= 0xff;
            (void)descriptor_find(&file, BASE ".Inner.SOME");
            (void)descriptor_extends(&file, BASE, 1);
            bytes[i] ^= 0xff;
        }
    }
    file.len = 0;
    assert_int_equal(descriptor_find(&file, BASE), DESCRIPTOR_NONE);
}

static void
what_a_file_imports_is_linked_to_it(void **state)
{
    (void)state;
    assert_string_equal(proto_file_extend.name, "extend.proto");
    assert_ptr_equal(proto_file_extend.imports[0], &proto_file_test);
    assert_null(proto_file_extend.imports[1]);
    assert_null(proto_file_test.imports[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_name_is_found),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(extensions_are_found_on_every_level),
        cmocka_unit_test(a_broken_file_is_no_harm),
        cmocka_unit_test(what_a_file_imports_is_linked_to_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
