/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/test.h"

/* An image of three small files below a temporary data folder. */
struct fixture {
    char data[64];
    char *dir; /* owned: <data>/images/small */
};

static void
write_text(const char *dir, const char *name, const char *text)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    FILE *f;

    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct image_manifest m = {.name = (char *)(uintptr_t) "small",
                               .kernel_release = (char *)(uintptr_t) "6.1.0",
                               .cmdline = (char *)(uintptr_t) "quiet",
                               .built_with = (char *)(uintptr_t) "00ff"};

    assert_non_null(f);
    (void)strcpy(f->data, "/tmp/vmt-image-XXXXXX");
    assert_non_null(mkdtemp(f->data));
    assert_true(asprintf(&f->dir, "%s/images/small", f->data) > 0);
    assert_int_equal(os_mkdir_p(f->dir, 0755, NULL), 0);
    for (int part = 0; part < IMAGE_PART_COUNT; part++) {
        const char *name = image_part_file((enum image_part)part);

        write_text(f->dir, name, name);
        m.size[part] = strlen(name);
        assert_int_equal(image_digest_text(name, strlen(name), m.digest[part], NULL), 0);
    }
    assert_int_equal(image_manifest_save(f->dir, &m, NULL), 0);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(os_remove_tree(f->data, NULL), 0);
    free(f->dir);
    free(f);
    return 0;
}

static void
the_digest_is_sha_256(void **state)
{
    char hex[IMAGE_DIGEST_HEX];

    (void)state;
    /* FIPS 180-2, appendix B.1. */
    assert_int_equal(image_digest_text("abc", 3, hex, NULL), 0);
    assert_string_equal(
        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void
a_whole_image_is_listed_found_verified_and_opened(void **state)
{
    struct fixture *f = *state;
    VMT_CLEANUP(image_files_done) struct image_files files = {.fd = {-1, -1, -1}};
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    char **names = NULL;
    char text[32] = {0};
    size_t n = 0;

    assert_int_equal(image_list(f->data, &names, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_string_equal(names[0], "small");
    image_strings_free(names, n);
    assert_int_equal(image_find(f->data, "small", &dir, NULL), 0);
    assert_string_equal(dir, f->dir);
    assert_int_equal(image_verify(dir, NULL), 0);
    assert_int_equal(image_open(dir, &files, NULL), 0);
    assert_int_equal(read(files.fd[IMAGE_INITRD], text, sizeof(text)), 6);
    assert_string_equal(text, "initrd");
    assert_string_equal(files.manifest.kernel_release, "6.1.0");
}

static void
a_changed_file_is_refused_by_name_also_after_it_was_good(void **state)
{
    struct fixture *f = *state;
    struct image_files files;
    struct vmt_err err = {0};

    assert_int_equal(image_open(f->dir, &files, NULL), 0);
    image_files_done(&files);
    write_text(f->dir, "root.squashfs", "root.squashfX"); /* the same size */
    assert_int_equal(image_open(f->dir, &files, &err), -EBADMSG);
    assert_non_null(strstr(err.msg, "root.squashfs"));
    assert_int_equal(image_verify(f->dir, NULL), -EBADMSG);
}

static void
a_forged_manifest_does_not_pass_on_an_old_verdict(void **state)
{
    struct fixture *f = *state;
    struct image_files files;
    struct image_manifest m;

    assert_int_equal(image_open(f->dir, &files, NULL), 0);
    image_files_done(&files);
    assert_int_equal(image_manifest_load(f->dir, &m, NULL), 0);
    m.digest[IMAGE_KERNEL][0] = m.digest[IMAGE_KERNEL][0] == '0' ? '1' : '0';
    assert_int_equal(image_manifest_save(f->dir, &m, NULL), 0);
    image_manifest_done(&m);
    assert_int_equal(image_open(f->dir, &files, NULL), -EBADMSG);
}

static void
what_is_missing_says_what_to_try(void **state)
{
    struct fixture *f = *state;
    struct vmt_err err = {0};
    char *dir = NULL;

    assert_int_equal(image_find(f->data, "other", &dir, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "vmc image build"));
    assert_int_equal(image_find(f->data, "..", &dir, &err), -EINVAL);
    assert_int_equal(image_find(f->data, "", &dir, &err), -EINVAL);
    write_text(f->dir, "manifest.json", "{\"version\": 1,\n \"name\": }");
    assert_int_equal(image_verify(f->dir, &err), -EBADMSG);
    assert_non_null(strstr(err.msg, "manifest.json:2:"));
    write_text(f->dir, "manifest.json", "{\"version\": 7}");
    assert_int_equal(image_verify(f->dir, &err), -EBADMSG);
}

static void
a_kernel_without_pvh_entry_is_refused(void **state)
{
    struct fixture *f = *state;
    struct vmt_err err = {0};

    (void)f;
    assert_int_equal(image_kernel_check_pvh("/proc/self/exe", &err), -ENOEXEC);
    assert_int_equal(image_kernel_check_pvh("/dev/null", &err), -ENOEXEC);
    assert_int_equal(image_kernel_check_pvh("/no/such/file", &err), -ENOENT);
}

static void
tools_that_fail_or_are_missing_are_told_apart(void **state)
{
    VMT_CLEANUP(vmt_freep) char *out = NULL;
    struct vmt_err err = {0};

    (void)state;
    assert_int_equal(
        image_run((const char *const[]){"vmt-no-such-tool", NULL}, NULL, NULL, &err),
        -ENOENT);
    assert_non_null(strstr(err.msg, "vmt-no-such-tool is not installed"));
    assert_int_equal(
        image_run((const char *const[]){"sh", "-c", "echo why >&2; exit 3", NULL}, NULL,
                  NULL, &err),
        -EIO);
    assert_string_equal(err.msg, "sh failed with exit code 3: why");
    assert_int_equal(
        image_run((const char *const[]){"echo", "hello", NULL}, NULL, &out, &err), 0);
    assert_string_equal(out, "hello\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_is_sha_256),
        cmocka_unit_test_setup_teardown(a_whole_image_is_listed_found_verified_and_opened,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_changed_file_is_refused_by_name_also_after_it_was_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_forged_manifest_does_not_pass_on_an_old_verdict,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_missing_says_what_to_try, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_kernel_without_pvh_entry_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test(tools_that_fail_or_are_missing_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
