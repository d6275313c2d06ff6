/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/os/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/os/support.h"

struct guests {
    struct os_listener *listener;
    struct test_sink sinks[8];
    struct stream_peer peer;
    struct os_loop *loop;
    size_t n, want;
    bool reached, free_in_accept;
};

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct guests *g = arg;

    assert_in_range(g->n, 0, 7);
    g->peer = *peer;
    test_sink_attach(&g->sinks[g->n++], g->loop, s);
    g->reached = g->n >= g->want;
    if (g->free_in_accept)
        os_listener_free(vmt_take_ptr(&g->listener));
}

static void
guests_done(struct guests *g)
{
    os_listener_free(g->listener);
    for (size_t i = 0; i < g->n; i++) {
        stream_close(g->sinks[i].s);
        vmt_buf_done(&g->sinks[i].got);
    }
}

static char *
path_in(const char *dir, const char *name)
{
    char *path;

    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    return path;
}

static void
a_client_is_accepted_and_known_by_its_credentials(void **state)
{
    VMT_CLEANUP(vmt_freep) char *dir = test_temp_dir();
    VMT_CLEANUP(vmt_freep) char *path = path_in(dir, "sock");
    struct guests g = {.loop = *state, .want = 1};
    struct stat st;
    int fd, conn;

    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(os_listener_new(*state, fd, NULL, on_accept, &g, &g.listener, NULL),
                     0);
    assert_int_equal(os_unix_connect(path, &conn, NULL), 0);
    g.sinks[0].want = 5;
    assert_int_equal(write(conn, "hello", 5), 5);
    test_run_until(*state, &g.sinks[0].reached);
    assert_int_equal(g.peer.kind, STREAM_PEER_UNIX);
    assert_int_equal(g.peer.uid, geteuid());
    (void)close(conn);
    guests_done(&g);
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

static void
a_new_listener_takes_the_place_of_a_dead_one(void **state)
{
    VMT_CLEANUP(vmt_freep) char *dir = test_temp_dir();
    VMT_CLEANUP(vmt_freep) char *path = path_in(dir, "sock");
    int fd, conn;

    (void)state;
    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    (void)close(fd);
    assert_int_equal(os_unix_connect(path, &conn, NULL), -ECONNREFUSED);
    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    assert_int_equal(os_unix_connect(path, &conn, NULL), 0);
    (void)close(conn);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* no temporary name is left */
}

static void
a_path_longer_than_sun_path_works_for_both_sides(void **state)
{
    VMT_CLEANUP(vmt_freep) char *dir = test_temp_dir();
    VMT_CLEANUP(vmt_freep) char *deep = NULL, *path = NULL;
    int fd, conn;

    (void)state;
    assert_true(asprintf(&deep, "%s/%0100d/%0100d", dir, 1, 2) > 200);
    path = path_in(deep, "sock");
    assert_int_equal(os_mkdir_p(deep, 0700, NULL), 0);
    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    assert_int_equal(os_unix_connect(path, &conn, NULL), 0);
    (void)close(conn);
    (void)close(fd);
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

static void
errors_name_the_path_and_leave_nothing(void **state)
{
    VMT_CLEANUP(vmt_freep) char *dir = test_temp_dir();
    VMT_CLEANUP(vmt_freep) char *path = path_in(dir, "none/sock");
    VMT_CLEANUP(vmt_freep) char *over = path_in(dir, "file");
    struct vmt_err err;
    int fd = -1;

    (void)state;
    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, &err), -ENOENT);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(os_unix_connect(path, &fd, &err), -ENOENT);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(mkdir(over, 0700), 0);
    assert_int_equal(os_unix_listen(over, 0600, 8, &fd, &err), -EISDIR);
    assert_int_equal(fd, -1);
    assert_int_equal(rmdir(over), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void
a_listener_may_be_freed_while_it_hands_over(void **state)
{
    VMT_CLEANUP(vmt_freep) char *dir = test_temp_dir();
    VMT_CLEANUP(vmt_freep) char *path = path_in(dir, "sock");
    struct stream_peer told = {.kind = STREAM_PEER_VM, .cid = 33};
    struct guests g = {.loop = *state, .want = 1, .free_in_accept = true};
    int fd, conn[2];

    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    assert_int_equal(os_listener_new(*state, fd, &told, on_accept, &g, &g.listener, NULL),
                     0);
    assert_int_equal(os_unix_connect(path, &conn[0], NULL), 0);
    assert_int_equal(os_unix_connect(path, &conn[1], NULL), 0);
    test_run_until(*state, &g.reached);
    assert_int_equal(g.n, 1);
    assert_int_equal(g.peer.kind, STREAM_PEER_VM);
    assert_int_equal(g.peer.cid, 33);
    (void)close(conn[0]);
    (void)close(conn[1]);
    guests_done(&g);
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

static void
accepting_pauses_without_descriptors_and_goes_on_with_them(void **state)
{
    VMT_CLEANUP(vmt_freep) char *dir = test_temp_dir();
    VMT_CLEANUP(vmt_freep) char *path = path_in(dir, "sock");
    struct guests g = {.loop = *state, .want = 1};
    struct rlimit before, low;
    int fd, conn;

    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    assert_int_equal(os_listener_new(*state, fd, NULL, on_accept, &g, &g.listener, NULL),
                     0);
    assert_int_equal(os_unix_connect(path, &conn, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)conn + 1; /* every number below is taken */
    for (int i = 0; i <= conn; i++)
        low.rlim_cur =
            fcntl(i, F_GETFD) < 0 && (rlim_t)i < low.rlim_cur ? (rlim_t)i : low.rlim_cur;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    test_run_turns(*state, 10);
    assert_int_equal(g.n, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    test_run_until(*state, &g.reached);
    (void)close(conn);
    guests_done(&g);
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

#define LOOP_TEST(f)                                                                     \
    cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(a_client_is_accepted_and_known_by_its_credentials),
        LOOP_TEST(a_new_listener_takes_the_place_of_a_dead_one),
        LOOP_TEST(a_path_longer_than_sun_path_works_for_both_sides),
        LOOP_TEST(errors_name_the_path_and_leave_nothing),
        LOOP_TEST(a_listener_may_be_freed_while_it_hands_over),
        LOOP_TEST(accepting_pauses_without_descriptors_and_goes_on_with_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
