/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "core/base/cleanup.h"
#include "core/copy/stream.h"

/* Decode what one encoder wrote, with len bytes of the caller behind it. The body is a
 * block of its own, so that a sanitizer sees reads behind it. */
static int
decode(const uint8_t *record, size_t n, uint8_t **ret_body, struct copy_record *ret)
{
    enum copy_kind kind;
    size_t len;
    int r = copy_head_decode(record, &kind, &len);

    if (r < 0)
        return r;
    assert_int_equal(len, n - COPY_HEAD);
    *ret_body = malloc(len ? len : 1);
    assert_non_null(*ret_body);
    memcpy(*ret_body, record + COPY_HEAD, len);
    return copy_body_decode(kind, *ret_body, len, ret);
}

static struct copy_entry
some_file(void)
{
    return (struct copy_entry){
        .type = COPY_FILE,
        .mode = 0640,
        .mtime_s = -5,
        .mtime_ns = 999999999,
        .size = 1234567890123,
        .path = "a/b",
        .target = "",
    };
}

static int
decode_entry(const struct copy_entry *entry)
{
    uint8_t record[COPY_RECORD_MAX];
    VMT_CLEANUP(vmt_freep) uint8_t *body = NULL;
    struct copy_record r;
    ssize_t n = copy_entry_encode(entry, record);

    return n < 0 ? (int)n : decode(record, (size_t)n, &body, &r);
}

static void
an_entry_comes_back_as_it_was(void **state)
{
    uint8_t record[COPY_RECORD_MAX];
    VMT_CLEANUP(vmt_freep) uint8_t *body = NULL;
    struct copy_entry entry = some_file();
    struct copy_record r;
    ssize_t n = copy_entry_encode(&entry, record);

    (void)state;
    assert_true(n > 0);
    assert_int_equal(decode(record, (size_t)n, &body, &r), 0);
    assert_int_equal(r.kind, COPY_ENTRY);
    assert_int_equal(r.entry.mode, 0640);
    assert_int_equal(r.entry.mtime_s, -5);
    assert_int_equal(r.entry.mtime_ns, 999999999);
    assert_int_equal(r.entry.size, 1234567890123);
    assert_string_equal(r.entry.path, "a/b");
}

static void
the_other_records_come_back_as_they_were(void **state)
{
    uint8_t record[COPY_RECORD_MAX + 8];
    struct copy_record r;
    uint8_t *body;
    ssize_t n;

    (void)state;
    assert_int_equal(decode(record, copy_start_encode(77, record), &body, &r), 0);
    assert_int_equal(r.total, 77);
    free(body);
    n = (ssize_t)copy_data_encode(1ull << 40, 3, record);
    memcpy(record + n, "xyz", 3);
    assert_int_equal(decode(record, (size_t)n + 3, &body, &r), 0);
    assert_int_equal(r.offset, 1ull << 40);
    assert_memory_equal(r.data, "xyz", 3);
    free(body);
    n = copy_xattr_encode("user.a", 2, record);
    memcpy(record + n, "vw", 2);
    assert_int_equal(decode(record, (size_t)n + 2, &body, &r), 0);
    assert_string_equal(r.name, "user.a");
    assert_memory_equal(r.data, "vw", 2);
    free(body);
    assert_int_equal(decode(record, copy_done_encode(true, record), &body, &r), 0);
    assert_true(r.whole);
    free(body);
    assert_int_equal(decode(record, copy_end_encode(record), &body, &r), 0);
    free(body);
}

static void
an_entry_that_is_none_is_refused(void **state)
{
    struct copy_entry e;

    (void)state;
    e = some_file();
    assert_int_equal(decode_entry(&e), 0);
    e.path = "a/../b";
    assert_int_equal(decode_entry(&e), -EBADMSG);
    e = some_file();
    e.mode = 04755;
    assert_int_equal(decode_entry(&e), -EBADMSG);
    e = some_file();
    e.mtime_ns = 1000000000;
    assert_int_equal(decode_entry(&e), -EBADMSG);
    e = some_file();
    e.target = "x";
    assert_int_equal(decode_entry(&e), -EBADMSG);
    e = some_file();
    e.size = 1ull << 63;
    assert_int_equal(decode_entry(&e), -EBADMSG);
    e.size = COPY_SIZE_UNKNOWN;
    assert_int_equal(decode_entry(&e), 0);
    e = some_file();
    e.type = COPY_HARDLINK;
    e.size = 0;
    e.target = "../../etc/passwd";
    assert_int_equal(decode_entry(&e), -EBADMSG);
    e.type = COPY_SYMLINK; /* a symbolic link may say anything: nobody follows it */
    assert_int_equal(decode_entry(&e), 0);
    e.target = "";
    assert_int_equal(decode_entry(&e), -EBADMSG);
}

static void
a_body_that_is_cut_or_too_long_is_refused(void **state)
{
    uint8_t record[COPY_RECORD_MAX];
    struct copy_entry entry = some_file();
    ssize_t n = copy_entry_encode(&entry, record);
    struct copy_record r;

    (void)state;
    for (size_t len = 0; len < (size_t)n - COPY_HEAD; len++) {
        VMT_CLEANUP(vmt_freep) uint8_t *body = malloc(len + 1);

        assert_non_null(body);
        memcpy(body, record + COPY_HEAD, len);
        assert_int_equal(copy_body_decode(COPY_ENTRY, body, len, &r), -EBADMSG);
    }
    record[n] = 0;
    assert_int_equal(
        copy_body_decode(COPY_ENTRY, record + COPY_HEAD, (size_t)n - COPY_HEAD + 1, &r),
        -EBADMSG);
}

static void
a_head_of_another_protocol_is_refused(void **state)
{
    uint8_t head[COPY_HEAD] = {COPY_DATA, 0xff, 0xff, 0xff, 0xff};
    enum copy_kind kind;
    size_t len;

    (void)state;
    assert_int_equal(copy_head_decode(head, &kind, &len), -EBADMSG);
    memcpy(head, "hello", COPY_HEAD);
    assert_int_equal(copy_head_decode(head, &kind, &len), -EBADMSG);
    memset(head, 0, COPY_HEAD);
    assert_int_equal(copy_head_decode(head, &kind, &len), -EBADMSG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_comes_back_as_it_was),
        cmocka_unit_test(the_other_records_come_back_as_they_were),
        cmocka_unit_test(an_entry_that_is_none_is_refused),
        cmocka_unit_test(a_body_that_is_cut_or_too_long_is_refused),
        cmocka_unit_test(a_head_of_another_protocol_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
