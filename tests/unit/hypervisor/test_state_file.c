/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/state_file_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "tests/unit/test.h"

#define RAM_BYTES (4u << 20)

struct world {
    struct os_loop *loop;
    int file, ram, copy; /* copy: RAM of another VM */
    struct state_file head;
    unsigned dones;
    int result;
    char text[512];
};

static int
set_up(void **state)
{
    static struct world w;

    w = (struct world){.file = memfd_create("file", MFD_CLOEXEC),
                       .ram = memfd_create("ram", MFD_CLOEXEC),
                       .copy = memfd_create("copy", MFD_CLOEXEC),
                       .head = {.ram_bytes = RAM_BYTES, .stream_bytes = 3}};
    assert_int_equal(os_loop_new(&w.loop, NULL), 0);
    assert_int_equal(ftruncate(w.ram, RAM_BYTES), 0);
    assert_int_equal(ftruncate(w.copy, RAM_BYTES), 0);
    assert_int_equal(ftruncate(w.file, (off_t)state_stream_at(&w.head)), 0);
    assert_int_equal(pwrite(w.file, "abc", 3, (off_t)state_stream_at(&w.head)), 3);
    *state = &w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    os_loop_free(w->loop);
    (void)close(w->file);
    (void)close(w->ram);
    (void)close(w->copy);
    return 0;
}

static void
on_done(void *arg, int result, const struct vmt_err *err)
{
    struct world *w = arg;

    assert_int_equal(result < 0, err != NULL);
    w->dones++;
    w->result = result;
    (void)snprintf(w->text, sizeof(w->text), "%s", err ? err->msg : "");
    os_loop_stop(w->loop, 0);
}

static int
copy(struct world *w, enum qemu_copy_kind kind, int ram)
{
    const struct qemu_copy_spec spec = {.base = os_loop_base(w->loop),
                                        .kind = kind,
                                        .file_fd = w->file,
                                        .ram_fd = ram,
                                        .file = w->head,
                                        .on_done = on_done,
                                        .arg = w};
    struct qemu_copy *c;

    assert_int_equal(qemu_copy_start(&spec, &c, NULL), 0);
    (void)os_loop_run(w->loop);
    return w->result;
}

static uint64_t
used(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static char
byte_at(int fd, off_t at)
{
    char byte = 0;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    return byte;
}

static void
memory_comes_back_as_it_was_and_holes_stay(void **state)
{
    static const char zeroes[65536];
    struct world *w = *state;

    assert_int_equal(pwrite(w->ram, "first", 5, 0), 5);
    assert_int_equal(pwrite(w->ram, zeroes, sizeof(zeroes), 1 << 20),
                     (ssize_t)sizeof(zeroes));
    assert_int_equal(pwrite(w->ram, "middle", 6, (1 << 20) + 5000), 6);
    assert_int_equal(pwrite(w->ram, "last", 4, RAM_BYTES - 4), 4);
    assert_int_equal(copy(w, QEMU_COPY_SAVE, w->ram), 0);
    assert_int_equal(state_file_read(w->file, &w->head, NULL), 0);
    assert_int_equal(w->head.ram_bytes, RAM_BYTES);
    assert_int_equal(w->head.stream_bytes, 3);
    assert_int_equal(w->head.stream_hash, state_hash(STATE_HASH_EMPTY, "abc", 3));
    assert_true(used(w->file) < 64 * 1024); /* the zeroes are not there */
    assert_int_equal(copy(w, QEMU_COPY_FILL, w->copy), 0);
    assert_int_equal(w->dones, 2);
    assert_int_equal(byte_at(w->copy, 4), 't');
    assert_int_equal(byte_at(w->copy, (1 << 20) + 5005), 'e');
    assert_int_equal(byte_at(w->copy, (1 << 20) + 5006), 0);
    assert_int_equal(byte_at(w->copy, RAM_BYTES - 1), 't');
    assert_true(used(w->copy) < 64 * 1024);
}

static void
a_damaged_stream_is_told(void **state)
{
    struct world *w = *state;

    assert_int_equal(copy(w, QEMU_COPY_SAVE, w->ram), 0);
    assert_int_equal(state_file_read(w->file, &w->head, NULL), 0);
    assert_int_equal(pwrite(w->file, "x", 1, (off_t)state_stream_at(&w->head) + 2), 1);
    assert_int_equal(copy(w, QEMU_COPY_FILL, w->copy), -EINVAL);
    assert_non_null(strstr(w->text, "damaged"));
}

static void
save_two_pages(struct world *w)
{
    char page[STATE_PAGE_BYTES];

    memset(page, 'a', sizeof(page));
    assert_int_equal(pwrite(w->ram, page, sizeof(page), 0), (ssize_t)sizeof(page));
    page[7] = 'b';
    assert_int_equal(pwrite(w->ram, page, sizeof(page), 5 * STATE_PAGE_BYTES),
                     (ssize_t)sizeof(page));
    assert_int_equal(copy(w, QEMU_COPY_SAVE, w->ram), 0);
    assert_int_equal(state_file_read(w->file, &w->head, NULL), 0);
}

static void
expect_damage(struct world *w)
{
    assert_int_equal(copy(w, QEMU_COPY_FILL, w->copy), -EINVAL);
    assert_non_null(strstr(w->text, "damaged: the memory"));
}

static void
a_bit_that_turned_in_memory_is_told(void **state)
{
    struct world *w = *state;

    save_two_pages(w);
    assert_int_equal(pwrite(w->file, "c", 1, STATE_RAM_AT + 4095), 1);
    expect_damage(w);
    assert_int_equal(pwrite(w->file, "a", 1, STATE_RAM_AT + 4095), 1);
    assert_int_equal(copy(w, QEMU_COPY_FILL, w->copy), 0);
}

static void
memory_that_is_lost_is_told(void **state)
{
    struct world *w = *state;

    save_two_pages(w);
    assert_int_equal(fallocate(w->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               STATE_RAM_AT, STATE_PAGE_BYTES),
                     0);
    expect_damage(w);
}

static void
memory_at_another_place_is_told(void **state)
{
    struct world *w = *state;
    char page[STATE_PAGE_BYTES];

    save_two_pages(w);
    assert_int_equal(pread(w->file, page, sizeof(page), STATE_RAM_AT),
                     (ssize_t)sizeof(page));
    assert_int_equal(fallocate(w->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               STATE_RAM_AT, STATE_PAGE_BYTES),
                     0);
    assert_int_equal(pwrite(w->file, page, sizeof(page), STATE_RAM_AT + STATE_PAGE_BYTES),
                     (ssize_t)sizeof(page));
    expect_damage(w);
}

static void
each_bit_of_a_page_counts_and_two_do_not_undo_each_other(void **state)
{
    static uint8_t page[STATE_PAGE_BYTES];
    uint64_t all = state_hash_page(STATE_HASH_EMPTY, 0, page), one;

    (void)state;
    for (size_t bit = 0; bit < 8u * STATE_PAGE_BYTES; bit += 37) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        one = state_hash_page(STATE_HASH_EMPTY, 0, page);
        assert_int_not_equal(one, all);
        page[(bit / 8 + 64) % STATE_PAGE_BYTES] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(state_hash_page(STATE_HASH_EMPTY, 0, page), all);
        assert_int_not_equal(state_hash_page(STATE_HASH_EMPTY, 0, page), one);
        memset(page, 0, sizeof(page));
    }
}

static void
a_cancelled_copy_says_nothing_and_is_reaped(void **state)
{
    struct world *w = *state;
    const struct qemu_copy_spec spec = {.base = os_loop_base(w->loop),
                                        .kind = QEMU_COPY_SAVE,
                                        .file_fd = w->file,
                                        .ram_fd = w->ram,
                                        .file = w->head,
                                        .on_done = on_done,
                                        .arg = w};
    struct qemu_copy *c;

    assert_int_equal(qemu_copy_start(&spec, &c, NULL), 0);
    qemu_copy_cancel(c);
    (void)os_loop_run(w->loop); /* ends when nothing is left to wait for */
    assert_int_equal(w->dones, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

#define HEAD(version, ram, stream, hash)                                                 \
    "vm_tools state " version "\nram " ram "\nstream " stream "\nhash " hash "\n"
#define ZEROES "0000000000000000 0000000000000000"
#define NOW "3" /* STATE_VERSION */

static void
only_a_whole_head_of_ours_is_taken(void **state)
{
    static const char *const bad[] = {
        "",
        "vm_tools state 1\nram 4194304\nstream 3\nhash 0000000000000000\nend\n",
        HEAD("2", "4194304", "3", ZEROES) "end\n",
        HEAD("4", "4194304", "3", ZEROES) "end\n",
        HEAD(NOW, "0", "3", ZEROES) "end\n",
        HEAD(NOW, "-4194304", "3", ZEROES) "end\n",
        HEAD(NOW, "4194304", "0", ZEROES) "end\n",
        HEAD(NOW, "99999999999999999999", "3", ZEROES) "end\n",
        HEAD(NOW, "18446744073709551615", "3", ZEROES) "end\n",
        HEAD(NOW, "4194304", "3", "0000000000000000") "end\n",
        HEAD(NOW, "4194304", "3", "0 0") "end\n",
        HEAD(NOW, "4194304", "3", ZEROES),
        HEAD(NOW, "4194304", "4", ZEROES) "end\n",
    };
    struct world *w = *state;
    struct state_file got = {0};

    assert_int_equal(atoi(NOW), STATE_VERSION);
    assert_int_equal(state_file_write(w->file, &w->head, NULL), 0);
    assert_int_equal(state_file_read(w->file, &got, NULL), 0);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        char head[4096] = "";

        (void)snprintf(head, sizeof(head), "%s", bad[i]);
        assert_int_equal(pwrite(w->file, head, sizeof(head), 0), (ssize_t)sizeof(head));
        got.ram_bytes = 7;
        assert_int_equal(state_file_read(w->file, &got, NULL), -EINVAL);
        assert_int_equal(got.ram_bytes, 7);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_comes_back_as_it_was_and_holes_stay,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_stream_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bit_that_turned_in_memory_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(memory_that_is_lost_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_at_another_place_is_told, set_up,
                                        tear_down),
        cmocka_unit_test(each_bit_of_a_page_counts_and_two_do_not_undo_each_other),
        cmocka_unit_test_setup_teardown(a_cancelled_copy_says_nothing_and_is_reaped,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_a_whole_head_of_ours_is_taken, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
