/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors reach the call that they were given to, and none is left open. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/rpc/pair.h"
#include "tests/unit/test.h"

static size_t
open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

static ino_t
inode_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

/* n pipes' reading ends, told apart by their inodes. */
static void
make_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int ends[2];

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        (void)close(ends[1]);
        fds[i] = ends[0];
    }
}

static void
close_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        vmt_closep(&fds[i]);
}

static void
assert_same(const int *got, const int *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_not_equal(got[i], want[i]); /* a copy */
        assert_true(inode_of(got[i]) == inode_of(want[i]));
    }
}

static void
descriptors_go_there_and_back_in_order(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    size_t before = open_fds();

    (void)state;
    pair_init(&pair, NULL);
    for (size_t n = 1; n <= 8; n++) {
        struct pair_call call = {0};
        int fds[8];

        make_fds(fds, n);
        assert_int_equal(pair_start_fds(&pair, &call, RPCTEST_PATH("Echo"), fds, n), 0);
        wire_settle(&pair.clock, &pair.wire);
        assert_int_equal(call.status.code, RPC_OK);
        assert_int_equal(call.nfds, n);
        assert_same(call.fds, fds, n);
        close_fds(call.fds, n);
        close_fds(fds, n);
    }
    assert_int_equal(open_fds(), before);
}

/* Many calls with descriptors at once, in every size of pieces: each gets its own. */
static void
calls_in_one_write_keep_their_descriptors_apart(void **state)
{
    size_t before = open_fds();

    (void)state;
    for (size_t chunk = 0; chunk < 70; chunk++) {
        struct pair_call calls[9] = {0};
        int fds[9][3];
        struct pair pair;

        pair_init(&pair, NULL);
        pair.wire.chunk = chunk;
        for (size_t i = 0; i < 9; i++) {
            make_fds(fds[i], i % 4);
            assert_int_equal(
                pair_start_fds(&pair, &calls[i], RPCTEST_PATH("Echo"), fds[i], i % 4), 0);
        }
        wire_settle(&pair.clock, &pair.wire);
        for (size_t i = 0; i < 9; i++) {
            assert_int_equal(calls[i].status.code, RPC_OK);
            assert_int_equal(calls[i].nfds, i % 4);
            assert_same(calls[i].fds, fds[i], i % 4);
            close_fds(calls[i].fds, i % 4);
            close_fds(fds[i], i % 4);
        }
        pair_done(&pair);
    }
    assert_int_equal(open_fds(), before);
}

static void
cancelled_calls_do_not_shift_descriptors_to_others(void **state)
{
    size_t before = open_fds();

    (void)state;
    /* When: 0 before the request is sent, 1 before it arrives, 2 while the reply is on
     * its way. */
    for (int when = 0; when < 3; when++) {
        struct pair_call first = {0}, second = {0};
        struct pair pair;
        int fds[2];

        pair_init(&pair, NULL);
        wire_settle(&pair.clock, &pair.wire);
        make_fds(fds, 2);
        assert_int_equal(pair_start_fds(&pair, &first, RPCTEST_PATH("Echo"), fds, 1), 0);
        if (when > 0)
            assert_true(wire_clock_run(&pair.clock));
        if (when > 1) {
            pair.wire.stall[1] = true;
            wire_settle(&pair.clock, &pair.wire);
            assert_int_equal(pair.test.requests, 1);
        }
        rpc_client_cancel(first.call);
        assert_int_equal(pair_start_fds(&pair, &second, RPCTEST_PATH("Echo"), fds + 1, 1),
                         0);
        wire_settle(&pair.clock, &pair.wire);
        pair.wire.stall[1] = false;
        wire_settle(&pair.clock, &pair.wire);
        assert_int_equal(first.dones + first.messages, 0);
        assert_int_equal(second.status.code, RPC_OK);
        assert_int_equal(second.nfds, 1);
        assert_same(second.fds, fds + 1, 1);
        close_fds(second.fds, 1);
        close_fds(fds, 2);
        pair_done(&pair);
    }
    assert_int_equal(open_fds(), before);
}

static void
what_nobody_takes_is_closed(void **state)
{
    size_t before = open_fds();
    struct pair_call call = {0};
    struct pair pair;
    int fds[2];

    (void)state;
    pair_init(&pair, NULL);
    make_fds(fds, 2);
    /* A handler that does not ask, one that never finishes, and no handler at all. */
    assert_int_equal(pair_start_fds(&pair, &call, RPCTEST_PATH("Fail"), fds, 2), 0);
    assert_int_equal(pair_start_fds(&pair, &call, RPCTEST_PATH("Hang"), fds, 2), 0);
    assert_int_equal(pair_start_fds(&pair, &call, "/no/Such", fds, 2), 0);
    wire_settle(&pair.clock, &pair.wire);
    /* Not sent any more. */
    assert_int_equal(pair_start_fds(&pair, &call, RPCTEST_PATH("Echo"), fds, 2), 0);
    pair_done(&pair);
    close_fds(fds, 2);
    assert_int_equal(open_fds(), before);
}

static void
too_many_descriptors_are_refused(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};
    size_t before;
    int fds[9];

    (void)state;
    pair_init(&pair, NULL);
    make_fds(fds, 9);
    before = open_fds();
    assert_int_equal(pair_start_fds(&pair, &call, RPCTEST_PATH("Echo"), fds, 9), -EINVAL);
    assert_int_equal(open_fds(), before);
    fds[8] = (close(fds[8]), -1);
    assert_int_equal(pair_start_fds(&pair, &call, RPCTEST_PATH("Echo"), fds + 5, 4),
                     -EBADF);
    assert_int_equal(open_fds(), before - 1);
    close_fds(fds, 9);
}

/* Calls that never end must not use up the descriptors of the process. */
static void
one_connection_cannot_hoard_descriptors(void **state)
{
    size_t before = open_fds(), refused = 0;
    enum { CALLS = 20 };
    struct pair_call calls[CALLS] = {0}, last = {0};
    struct pair pair;
    int fds[8];

    (void)state;
    pair_init(&pair, NULL);
    make_fds(fds, 8);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(pair_start_fds(&pair, &calls[i], RPCTEST_PATH("Hang"), fds, 8),
                         0);
        wire_settle(&pair.clock, &pair.wire);
        refused += calls[i].status.code == RPC_INVALID_ARGUMENT;
    }
    assert_true(refused > 0 && refused < CALLS);
    assert_true(open_fds() < before + 8 + 40);
    for (size_t i = 0; i < CALLS; i++)
        rpc_client_cancel(calls[i].call);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(pair_start_fds(&pair, &last, RPCTEST_PATH("Echo"), fds, 8), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(last.status.code, RPC_OK);
    close_fds(last.fds, last.nfds);
    close_fds(fds, 8);
    pair_done(&pair);
    assert_int_equal(open_fds(), before);
}

static void
descriptors_that_did_not_arrive_break_the_connection(void **state)
{
    /* The announcement of 1 descriptor for stream 1, without one. */
    static const uint8_t frame[] = {0, 0, 1, 0xf6, 0, 0, 0, 0, 1, 1};
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(vmt_buf_append(&pair.wire.ends[0].out, frame, sizeof(frame)), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(pair.test.cancels, 1);
    assert_int_equal(call.status.code, RPC_UNAVAILABLE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_go_there_and_back_in_order),
        cmocka_unit_test(calls_in_one_write_keep_their_descriptors_apart),
        cmocka_unit_test(cancelled_calls_do_not_shift_descriptors_to_others),
        cmocka_unit_test(what_nobody_takes_is_closed),
        cmocka_unit_test(too_many_descriptors_are_refused),
        cmocka_unit_test(one_connection_cannot_hoard_descriptors),
        cmocka_unit_test(descriptors_that_did_not_arrive_break_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
