/* SPDX-License-Identifier: BSD-3-Clause */
/* Remembered verdicts, the key that they depend on, and what /dev/kvm may say. */
#include "hypervisor/qemu/accel_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

#define NOW 1700000000

struct fixture {
    char dir[64], cache[96], file[128];
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/vmt-accel-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->cache, sizeof(f->cache), "%s/cache", f->dir);
    (void)snprintf(f->file, sizeof(f->file), "%s/accel.json", f->cache);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    int clean;

    unlink(f->file);
    (void)chmod(f->cache, 0700);
    (void)rmdir(f->cache); /* only some tests make it; what is left in it stays */
    clean = rmdir(f->dir);
    free(f);
    return clean;
}

static json_t *
key_of(const char *name)
{
    return json_pack("{s:s}", "guest kernel file", name);
}

static void
store(struct fixture *f, const char *name, enum hypervisor_accel accel, int64_t at)
{
    json_t *key = key_of(name);
    struct accel_verdict v = {.accel = accel, .cpu = "host", .reason = "because"};

    assert_int_equal(accel_cache_store(f->cache, key, at, &v), 0);
    json_decref(key);
}

static bool
find(struct fixture *f, const char *name, int64_t now, struct accel_verdict *v)
{
    json_t *key = key_of(name);
    bool found = accel_cache_find(f->cache, key, now, v);

    json_decref(key);
    return found;
}

static void
a_yes_is_found_again_for_ever(void **state)
{
    struct fixture *f = *state;
    struct accel_verdict v;

    assert_false(find(f, "a", NOW, &v));
    store(f, "a", HYPERVISOR_ACCEL_KVM, NOW);
    assert_true(find(f, "a", NOW + 400ll * 24 * 3600, &v));
    assert_int_equal(v.accel, HYPERVISOR_ACCEL_KVM);
    assert_string_equal(v.cpu, "host");
    assert_string_equal(v.reason, "because");
    assert_false(find(f, "b", NOW, &v));
}

static void
a_no_is_forgotten_after_a_day(void **state)
{
    struct fixture *f = *state;
    struct accel_verdict v;

    store(f, "a", HYPERVISOR_ACCEL_TCG, NOW);
    assert_true(find(f, "a", NOW, &v));
    assert_int_equal(v.accel, HYPERVISOR_ACCEL_TCG);
    assert_true(find(f, "a", NOW + ACCEL_NEGATIVE_SECONDS - 1, &v));
    assert_false(find(f, "a", NOW + ACCEL_NEGATIVE_SECONDS, &v));
    assert_false(find(f, "a", NOW - 1, &v)); /* the clock was set back */
}

static void
a_new_verdict_replaces_the_old_one(void **state)
{
    struct fixture *f = *state;
    struct accel_verdict v;

    store(f, "a", HYPERVISOR_ACCEL_TCG, NOW);
    store(f, "b", HYPERVISOR_ACCEL_TCG, NOW);
    store(f, "a", HYPERVISOR_ACCEL_KVM, NOW);
    assert_true(find(f, "a", NOW, &v));
    assert_int_equal(v.accel, HYPERVISOR_ACCEL_KVM);
    assert_true(find(f, "b", NOW, &v));
}

static void
only_the_newest_verdicts_are_kept(void **state)
{
    struct fixture *f = *state;
    struct accel_verdict v;
    char name[16];

    for (int i = 0; i < ACCEL_CACHE_MAX + 3; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        store(f, name, HYPERVISOR_ACCEL_KVM, NOW);
    }
    assert_false(find(f, "2", NOW, &v));
    assert_true(find(f, "3", NOW, &v));
    assert_true(find(f, name, NOW, &v));
}

static void
a_broken_file_counts_as_none(void **state)
{
    static const char *const texts[] = {
        "",
        "garbage",
        "{}",
        "[1, null, {\"key\": {\"guest kernel file\": \"a\"}}]",
        "[{\"key\": {\"guest kernel file\": \"a\"}, \"accel\": 1, \"cpu\": \"host\", "
        "\"reason\": \"r\", \"wall\": 1}]",
        "[{\"key\": {\"guest kernel file\": \"a\"}, \"accel\": \"a word too long\", "
        "\"cpu\": \"host\", \"reason\": \"r\", \"wall\": 1}]",
    };
    struct fixture *f = *state;
    struct accel_verdict v;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(texts); i++) {
        FILE *out;

        store(f, "b", HYPERVISOR_ACCEL_KVM, NOW);
        out = fopen(f->file, "w");
        assert_true(fputs(texts[i], out) >= 0);
        (void)fclose(out);
        assert_false(find(f, "a", NOW, &v));
        store(f, "a", HYPERVISOR_ACCEL_KVM, NOW);
        assert_true(find(f, "a", NOW, &v));
    }
}

static void
a_place_that_cannot_be_written_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct accel_verdict v = {.accel = HYPERVISOR_ACCEL_KVM};
    json_t *key = key_of("a");
    char nowhere[160];

    (void)snprintf(nowhere, sizeof(nowhere), "%s/a/b", f->dir);
    assert_int_equal(accel_cache_store(nowhere, key, NOW, &v), -ENOENT);
    json_decref(key);
}

static void
the_key_changes_with_the_kernel_file_and_the_binary(void **state)
{
    struct fixture *f = *state;
    int fd = open(f->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    json_t *a, *b;

    assert_true(fd >= 0);
    a = accel_key_new("sh", fd);
    b = accel_key_new("sh", fd);
    assert_true(json_equal(a, b));
    assert_non_null(json_object_get(a, "boot"));
    assert_non_null(json_object_get(a, "kernel"));
    assert_non_null(json_object_get(a, "qemu file"));
    json_decref(b);
    b = accel_key_new("true", fd);
    assert_false(json_equal(a, b));
    json_decref(b);
    assert_int_equal(ftruncate(fd, 1), 0);
    b = accel_key_new("sh", fd);
    assert_false(json_equal(a, b));
    json_decref(b);
    json_decref(a);
    close(fd);
}

static void
a_device_that_is_missing_or_wrong_gives_a_reason(void **state)
{
    char reason[ACCEL_REASON_MAX] = "";

    (void)state;
    assert_false(accel_kvm_may_work("/nonexistent/kvm", reason, sizeof(reason)));
    assert_non_null(strstr(reason, "no /dev/kvm"));
    assert_false(accel_kvm_may_work("/dev/null", reason, sizeof(reason)));
    assert_non_null(strstr(reason, "API version"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_yes_is_found_again_for_ever),
        TEST(a_no_is_forgotten_after_a_day),
        TEST(a_new_verdict_replaces_the_old_one),
        TEST(only_the_newest_verdicts_are_kept),
        TEST(a_broken_file_counts_as_none),
        TEST(a_place_that_cannot_be_written_is_an_error),
        TEST(the_key_changes_with_the_kernel_file_and_the_binary),
        TEST(a_device_that_is_missing_or_wrong_gives_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
