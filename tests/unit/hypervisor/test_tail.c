/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/tail_internal.h"

#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "tests/unit/test.h"

static void
expect_text(const char *const *writes, const char *expected)
{
    struct event_base *base = event_base_new();
    struct qemu_tail tail;
    char text[QEMU_TAIL_MAX];
    int fd;

    assert_int_equal(qemu_tail_init(&tail, base, &fd, NULL), 0);
    for (; *writes; writes++) {
        assert_int_equal(write(fd, *writes, strlen(*writes)), strlen(*writes));
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    close(fd);
    qemu_tail_drain(&tail);
    assert_string_equal(qemu_tail_text(&tail, text, sizeof(text)), expected);
    qemu_tail_done(&tail);
    event_base_free(base);
}

static void
lines_are_joined_and_made_printable(void **state)
{
    (void)state;
    expect_text((const char *const[]){"one\n", "tw", "o\n\n\x1b[31m", NULL},
                "one; two; \\x1b[31m");
    expect_text((const char *const[]){NULL}, "");
}

static void
only_the_last_bytes_are_kept(void **state)
{
    static char big[3 * QEMU_TAIL_MAX];
    struct event_base *base = event_base_new();
    struct qemu_tail tail;
    char text[64];
    int fd;

    (void)state;
    memset(big, 'a', sizeof(big));
    memcpy(big + sizeof(big) - 4, "\nend", 4);
    assert_int_equal(qemu_tail_init(&tail, base, &fd, NULL), 0);
    assert_int_equal(write(fd, big, sizeof(big)), sizeof(big));
    qemu_tail_drain(&tail);
    assert_int_equal(tail.len, QEMU_TAIL_MAX);
    assert_memory_equal(tail.bytes + QEMU_TAIL_MAX - 4, "\nend", 4);
    assert_true(strlen(qemu_tail_text(&tail, text, sizeof(text))) < sizeof(text));
    close(fd);
    qemu_tail_done(&tail);
    event_base_free(base);
}

struct flood {
    int fd;        /* borrowed */
    unsigned left; /* writes, one for each piece that was read */
};

static void
write_again(void *arg)
{
    struct flood *f = arg;

    if (f->left == 0)
        return;
    f->left--;
    assert_int_equal(write(f->fd, "x", 1), 1);
}

/* A copy of the dead process's end is in other hands, and each byte that we read makes
 * room for the next. */
static void
a_drain_ends_although_the_writer_never_stops(void **state)
{
    struct event_base *base = event_base_new();
    struct flood flood = {.left = 10 * QEMU_TAIL_DRAIN_ROUNDS};
    struct qemu_tail tail;

    (void)state;
    assert_int_equal(qemu_tail_init(&tail, base, &flood.fd, NULL), 0);
    tail.on_data = write_again;
    tail.arg = &flood;
    assert_int_equal(write(flood.fd, "x", 1), 1);
    qemu_tail_drain(&tail);
    assert_int_equal(flood.left, 9 * QEMU_TAIL_DRAIN_ROUNDS);
    close(flood.fd);
    qemu_tail_done(&tail);
    event_base_free(base);
}

static void
a_drain_takes_in_all_that_a_pipe_holds(void **state)
{
    static const char zeroes[64 * 1024];
    struct event_base *base = event_base_new();
    struct qemu_tail tail;
    ssize_t n;
    int fd;

    (void)state;
    assert_int_equal(qemu_tail_init(&tail, base, &fd, NULL), 0);
    n = write(fd, zeroes, sizeof(zeroes) - 4); /* pipe(7): 16 pages */
    assert_int_equal(n, sizeof(zeroes) - 4);
    assert_int_equal(write(fd, "end\n", 4), 4);
    qemu_tail_drain(&tail);
    assert_memory_equal(tail.bytes + QEMU_TAIL_MAX - 4, "end\n", 4);
    close(fd);
    qemu_tail_done(&tail);
    event_base_free(base);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_joined_and_made_printable),
        cmocka_unit_test(only_the_last_bytes_are_kept),
        cmocka_unit_test(a_drain_takes_in_all_that_a_pipe_holds),
        cmocka_unit_test(a_drain_ends_although_the_writer_never_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
