/* SPDX-License-Identifier: BSD-3-Clause */
/* A copy from one VM to another: what passes this host, and what does not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/test.h"

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/copy/stream.h"
#include "platform/linux/copy/copy.h"

/* A stream as it is made, shorter than what a pipe holds. */
struct stream {
    uint8_t bytes[16 * 1024];
    size_t len;
};

static void
put_entry(struct stream *s, enum copy_type type, const char *path, const char *target)
{
    struct copy_entry entry = {.type = type,
                               .mode = 0640,
                               .size = type == COPY_FILE ? 4 : 0,
                               .path = path,
                               .target = target};

    s->len += (size_t)copy_entry_encode(&entry, s->bytes + s->len);
}

static void
put_bytes(struct stream *s, const char *text)
{
    memcpy(s->bytes + s->len, text, strlen(text));
    s->len += strlen(text);
}

static void
put_file(struct stream *s, const char *path)
{
    put_entry(s, COPY_FILE, path, "");
    s->len += (size_t)copy_xattr_encode("user.x", 3, s->bytes + s->len);
    put_bytes(s, "red");
    s->len += copy_data_encode(0, 4, s->bytes + s->len);
    put_bytes(s, "data");
    s->len += copy_done_encode(true, s->bytes + s->len);
}

static void
put_start(struct stream *s)
{
    s->len += copy_start_encode(4, s->bytes + s->len);
}

static void
put_end(struct stream *s)
{
    s->len += copy_end_encode(s->bytes + s->len);
}

/* What the progress of DATA is about. */
static void
on_progress(void *arg, const struct copy_totals *totals, const char *path)
{
    if (totals->bytes == 4)
        (void)snprintf(arg, 16, "%s", path);
}

/* Pass it on as the copy of "a" and "b"; what comes out is in out. */
static int
relay(const struct stream *in, struct stream *out, struct copy_totals *ret_totals)
{
    static const char *const names[] = {"a", "b"};
    int from[2], to[2];
    char seen[16] = "";
    struct copy_relay config = {
        .side = {.program = "test", .label = "", .on_progress = on_progress, .arg = seen},
        .names = names,
        .nnames = 2};
    struct vmt_err err;
    ssize_t n;
    int r;

    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(write(from[1], in->bytes, in->len), in->len);
    (void)close(from[1]);
    config.in = from[0];
    config.out = to[1];
    r = copy_relay(&config, &err);
    (void)close(from[0]);
    (void)close(to[1]);
    n = read(to[0], out->bytes, sizeof(out->bytes));
    assert_true(n >= 0);
    out->len = (size_t)n;
    (void)close(to[0]);
    *ret_totals = config.side.totals;
    if (r == 0)
        assert_true(*seen == 'a' || *seen == 'b');
    return r;
}

static void
what_was_asked_for_passes_as_it_is(void **state)
{
    struct stream in = {.len = 0}, out;
    struct copy_totals totals;

    (void)state;
    put_start(&in);
    put_file(&in, "a");
    put_entry(&in, COPY_FOLDER, "b", "");
    put_entry(&in, COPY_HARDLINK, "b/other", "a");
    put_entry(&in, COPY_SYMLINK, "b/link", "../anywhere");
    put_entry(&in, COPY_FOLDER_END, "b", "");
    put_end(&in);
    assert_int_equal(relay(&in, &out, &totals), 0);
    assert_int_equal(out.len, in.len);
    assert_memory_equal(out.bytes, in.bytes, in.len);
    assert_int_equal(totals.total, 4);
    assert_int_equal(totals.bytes, 4);
    assert_int_equal(totals.files, 4);
}

static void
what_nobody_asked_for_ends_the_copy(void **state)
{
    static const struct {
        enum copy_type type;
        const char *path, *target;
    } rows[] = {
        {COPY_FILE, ".bashrc", ""},
        {COPY_FOLDER, "c", ""},
        {COPY_SYMLINK, "ab", "x"},
        {COPY_HARDLINK, "a/key", ".ssh/id_rsa"},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        struct stream in = {.len = 0}, out;
        struct copy_totals totals;

        put_start(&in);
        put_entry(&in, rows[i].type, rows[i].path, rows[i].target);
        put_end(&in);
        assert_int_equal(relay(&in, &out, &totals), -EBADMSG);
        assert_null(memmem(out.bytes, out.len, rows[i].path, strlen(rows[i].path)));
    }
}

static void
a_stream_that_is_cut_anywhere_is_no_copy(void **state)
{
    struct stream whole = {.len = 0}, out;
    struct copy_totals totals;

    (void)state;
    put_start(&whole);
    put_file(&whole, "a");
    put_end(&whole);
    for (size_t len = 0; len < whole.len; len++) {
        struct stream in = whole;

        in.len = len;
        assert_int_equal(relay(&in, &out, &totals), -EPIPE);
    }
}

static void
bytes_of_something_else_do_not_pass(void **state)
{
    struct stream in = {.len = 0}, out;
    struct copy_totals totals;

    (void)state;
    put_bytes(&in, "Welcome to Debian!");
    assert_int_equal(relay(&in, &out, &totals), -EBADMSG);
    assert_int_equal(out.len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_for_passes_as_it_is),
        cmocka_unit_test(what_nobody_asked_for_ends_the_copy),
        cmocka_unit_test(a_stream_that_is_cut_anywhere_is_no_copy),
        cmocka_unit_test(bytes_of_something_else_do_not_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
