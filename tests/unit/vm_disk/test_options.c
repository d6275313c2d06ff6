/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vm_disk/options.h"
#include "platform/linux/vm_disk/report.h"
#include "tests/unit/test.h"

#define WORDS_MAX 12

/* words after the name of the program, up to a NULL. */
static int
parse(const char *const *words, struct options *ret_opt, struct vmt_err *err)
{
    char *argv[WORDS_MAX + 2] = {(char[]){"vm_disk"}};
    char text[WORDS_MAX][96];
    int argc = 1;

    for (; words[argc - 1]; argc++) {
        (void)strncpy(text[argc - 1], words[argc - 1], sizeof(text[0]) - 1);
        text[argc - 1][sizeof(text[0]) - 1] = '\0';
        argv[argc] = text[argc - 1];
    }
    return options_parse(argc, argv, ret_opt, err);
}

#define PARSE(opt, ...) parse((const char *const[]){__VA_ARGS__, NULL}, (opt), NULL)

static void
order_of_command_and_options_is_free(void **state)
{
    struct options opt;

    (void)state;
    assert_int_equal(PARSE(&opt, "--size=4096", "create", "--vm-type=7", "--image=a"), 0);
    assert_int_equal(opt.command, COMMAND_CREATE);
    assert_true(opt.size == 4096 && opt.vm_type == 7 && opt.data_fd == -1);
    options_done(&opt);
}

static void
format_follows_the_name_unless_told(void **state)
{
    struct options opt;

    (void)state;
    assert_int_equal(PARSE(&opt, "create", "--image=a.qcow2"), 0);
    assert_int_equal(opt.format, DISK_QCOW2);
    assert_int_equal(PARSE(&opt, "create", "--image=a.qcow2", "--format=raw"), 0);
    assert_int_equal(opt.format, DISK_RAW);
    assert_int_equal(
        PARSE(&opt, "convert", "--image=a.qcow2", "--output=b", "--output-format=qcow2"),
        0);
    assert_int_equal(opt.output_format, DISK_QCOW2);
}

static void
digest_is_of_either_case(void **state)
{
    struct options opt;

    (void)state;
    assert_int_equal(PARSE(&opt, "import", "--image=a", "--data-fd=0",
                           "--digest=ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789"
                           "ABCDEF0123456789"),
                     0);
    assert_memory_equal(opt.digest, "abcdef01", 8);
}

static void
what_makes_no_sense_is_refused(void **state)
{
    static const char *const cases[][6] = {
        {"create", NULL},
        {"--image=a", NULL},
        {"create", "--image=", NULL},
        {"create", "--image=a", "--size=17592186044417", NULL},
        {"create", "--image=a", "--size=1k", NULL},
        {"create", "--image=a", "--allocation=full", NULL},
        {"create", "--image=a", "--allocation=full", "--size=4096", "--storage-balloon",
         NULL},
        {"create", "--image=a.qcow2", "--allocation=full", "--size=4096", NULL},
        {"create", "--image=a", "--fs=btrfs", "--tune-option=-c1", NULL},
        {"create", "--image=a", "--output=b", NULL},
        {"export", "--image=a", NULL},
        {"resize", "--image=a", NULL},
        {"convert", "--image=a", NULL},
        {"export", "--image=a", "--data-fd=0", "--keep-attributes", NULL},
        {"import", "--image=a", "--data-fd=0", "--vm-type=1", "--keep-attributes", NULL},
        {"import", "--image=a", "--data-fd=-1", NULL},
        {"import", "--image=a", "--data-fd=0", "--vm-type=100", NULL},
        {"create", "create", "--image=a", NULL},
    };
    struct options opt = {.size = 99};
    struct vmt_err err;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        err.msg[0] = '\0';
        assert_int_equal(parse(cases[i], &opt, &err), -EINVAL);
        assert_true(err.msg[0]);
    }
    assert_true(opt.size == 99);
}

static void
failures_have_the_words_of_the_interface(void **state)
{
    static const struct {
        int r;
        const char *word;
    } cases[] = {
        {-ENOSPC, "nospace"}, {-EDQUOT, "nospace"}, {-EBADMSG, "badimage"},
        {-EEXIST, "exists"},  {-EBUSY, "busy"},     {-ENOENT, "missing"},
        {-EIO, "failed"},     {-EFBIG, "failed"},   {-EINVAL, "failed"},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++)
        assert_string_equal(report_code(cases[i].r), cases[i].word);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_command_and_options_is_free),
        cmocka_unit_test(format_follows_the_name_unless_told),
        cmocka_unit_test(digest_is_of_either_case),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(failures_have_the_words_of_the_interface),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
