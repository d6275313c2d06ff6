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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_joined_and_made_printable),
        cmocka_unit_test(only_the_last_bytes_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
