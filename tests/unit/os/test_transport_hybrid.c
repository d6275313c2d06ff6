/* SPDX-License-Identifier: BSD-3-Clause */
/* What is peculiar to the hybrid transport; tests/contract has what it shares. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/adapter/transport.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket.h"
#include "tests/unit/os/support.h"

#define CID 40

/* A VMM that answers CONNECT as a test says, raw. */
struct vmm {
    struct os_loop *loop;
    struct transport *t;
    char *dir;
    struct os_listener *door;
    struct test_sink asked; /* the connection of the transport */
    bool accepted;
    struct test_sink got; /* what the dialer got */
    bool done;
    int code;
    char why[256];
};

static void
vmm_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct vmm *v = arg;

    (void)peer;
    v->accepted = true;
    test_sink_attach(&v->asked, v->loop, s);
}

static void
vmm_start(struct vmm *v, void **state)
{
    char path[128];
    int fd;

    memset(v, 0, sizeof(*v));
    v->loop = *state;
    v->dir = test_temp_dir();
    (void)snprintf(path, sizeof(path), "%s/vsock", v->dir);
    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    assert_int_equal(os_listener_new(v->loop, fd, NULL, vmm_on_accept, v, &v->door, NULL),
                     0);
    assert_int_equal(transport_hybrid_new(v->loop, &v->t, NULL), 0);
    assert_int_equal(v->t->ops->vm_add(v->t, CID, v->dir, NULL), 0);
}

static void
vmm_end(struct vmm *v)
{
    os_listener_free(v->door);
    stream_close(v->asked.s);
    stream_close(v->got.s);
    vmt_buf_done(&v->asked.got);
    vmt_buf_done(&v->got.got);
    v->t->ops->free(v->t);
    assert_int_equal(os_remove_tree(v->dir, NULL), 0);
    free(v->dir);
}

static void
on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct vmm *v = arg;

    assert_false(v->done);
    v->done = true;
    if (s) {
        test_sink_attach(&v->got, v->loop, s);
        return;
    }
    v->code = err->code;
    (void)snprintf(v->why, sizeof(v->why), "%.255s", err->msg);
}

static void
dial(struct vmm *v, uint32_t port)
{
    struct transport_dial d = {
        .cid = CID, .port = port, .timeout_ms = 20000, .on_done = on_done, .arg = v};
    struct transport_op *op;

    assert_int_equal(v->t->ops->connect(v->t, &d, &op, NULL), 0);
    test_run_until(v->loop, &v->accepted);
}

static void
answer(struct vmm *v, const char *bytes, size_t len)
{
    assert_int_equal(v->asked.s->ops->send(v->asked.s, bytes, len, NULL, 0), 0);
}

static void
the_request_is_as_the_convention_says(void **state)
{
    struct vmm v;

    vmm_start(&v, state);
    v.asked.want = 19;
    dial(&v, UINT32_MAX);
    test_run_until(v.loop, &v.asked.reached);
    assert_int_equal(v.asked.got.len, 19);
    assert_memory_equal(v.asked.got.data, "CONNECT 4294967295\n", 19);
    vmm_end(&v);
}

static void
an_answer_byte_by_byte_is_understood_and_what_follows_is_the_streams(void **state)
{
    static const char text[] = "OK 1073741824\nOK 2\n";
    struct vmm v;

    vmm_start(&v, state);
    dial(&v, 5);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        answer(&v, text + i, 1);
        test_run_turns(v.loop, 3);
        assert_int_equal(v.done, i >= 13);
    }
    v.got.want = 5;
    v.got.reached = v.got.total >= 5;
    test_run_until(v.loop, &v.got.reached);
    assert_memory_equal(v.got.got.data, "OK 2\n", 5);
    vmm_end(&v);
}

static void
bytes_in_the_same_write_as_the_answer_are_the_streams(void **state)
{
    struct vmm v;

    vmm_start(&v, state);
    dial(&v, 5);
    answer(&v, "OK 7\n\0\nxyz", 10);
    v.got.want = 5;
    test_run_until(v.loop, &v.got.reached);
    assert_int_equal(v.got.got.len, 5);
    assert_memory_equal(v.got.got.data, "\0\nxyz", 5);
    vmm_end(&v);
}

static void
any_other_answer_is_a_refusal(void **state)
{
    static const char *const wrong[] = {
        "ERR\n",
        "OK\n",
        "OK \n",
        "OK x\n",
        "OK 4294967296\n",
        "OK -1\n",
        "ok 1\n",
        "\n",
        "OK 1 \n",
        "HTTP/1.1 200 OK and so on\n",
        "OK 00000000000000000000000000000000000000001\n", /* longer than any answer */
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(wrong); i++) {
        struct vmm v;

        vmm_start(&v, state);
        dial(&v, 5);
        answer(&v, wrong[i], strlen(wrong[i]));
        test_run_until(v.loop, &v.done);
        assert_int_equal(v.code, ECONNREFUSED);
        assert_null(v.got.s);
        assert_non_null(strstr(v.why, "port 5 of vm 40"));
        vmm_end(&v);
    }
}

static void
an_end_at_any_byte_of_the_answer_is_a_refusal(void **state)
{
    static const char text[] = "OK 107";

    for (size_t cut = 0; cut < sizeof(text); cut++) {
        struct vmm v;

        vmm_start(&v, state);
        v.asked.want = 10;
        dial(&v, 5);
        test_run_until(v.loop, &v.asked.reached);
        answer(&v, text, cut);
        stream_close(vmt_take_ptr(&v.asked.s));
        test_run_until(v.loop, &v.done);
        assert_int_equal(v.code, ECONNREFUSED);
        vmm_end(&v);
    }
}

static void
a_missing_vmm_is_told_with_its_path(void **state)
{
    struct vmm v;
    struct transport_op *op;
    struct transport_dial d = {.cid = CID, .port = 5, .on_done = on_done, .arg = &v};
    char path[128];

    vmm_start(&v, state);
    (void)snprintf(path, sizeof(path), "%s/vsock", v.dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(v.t->ops->connect(v.t, &d, &op, NULL), 0);
    test_run_until(v.loop, &v.done);
    assert_int_equal(v.code, ENOENT);
    assert_non_null(strstr(v.why, path));
    vmm_end(&v);
}

static void
a_full_backlog_is_tried_again(void **state)
{
    struct vmm v;
    struct transport_op *op;
    struct transport_dial d = {
        .cid = CID, .port = 5, .timeout_ms = 20000, .on_done = on_done, .arg = &v};
    char path[128];
    int busy[64], n = 0, fd;

    vmm_start(&v, state);
    os_listener_free(vmt_take_ptr(&v.door));
    (void)snprintf(path, sizeof(path), "%s/vsock", v.dir);
    assert_int_equal(os_unix_listen(path, 0600, 0, &fd, NULL), 0);
    /* One waits in the backlog of a listener that nobody serves, so the next gets EAGAIN.
     */
    assert_int_equal(os_unix_connect(path, &busy[n++], NULL), 0);
    assert_int_equal(v.t->ops->connect(v.t, &d, &op, NULL), 0);
    test_run_turns(v.loop, 5);
    assert_false(v.done);
    assert_int_equal(os_listener_new(v.loop, fd, NULL, vmm_on_accept, &v, &v.door, NULL),
                     0);
    /* The first to be accepted is the one that kept it busy. */
    test_run_until(v.loop, &v.accepted);
    v.accepted = false;
    stream_close(vmt_take_ptr(&v.asked.s));
    test_run_until(v.loop, &v.accepted);
    answer(&v, "OK 1\n", 5);
    test_run_until(v.loop, &v.done);
    assert_non_null(v.got.s);
    while (n > 0)
        (void)close(busy[--n]);
    vmm_end(&v);
}

static void
on_accept_none(void *arg, struct stream *s, const struct stream_peer *peer)
{
    (void)arg;
    (void)peer;
    stream_close(s);
}

static bool
exists(const struct vmm *v, const char *name)
{
    char path[128];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/%s", v->dir, name);
    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void
sockets_come_with_vms_and_listeners_and_go_with_them(void **state)
{
    struct vmm v;
    struct transport_listener *a, *b;

    vmm_start(&v, state);
    assert_int_equal(v.t->ops->listen(v.t, 7777, on_accept_none, NULL, &a, NULL), 0);
    assert_int_equal(v.t->ops->listen(v.t, 9999, on_accept_none, NULL, &b, NULL), 0);
    assert_true(exists(&v, "vsock_7777") && exists(&v, "vsock_9999"));
    v.t->ops->unlisten(a);
    assert_true(!exists(&v, "vsock_7777") && exists(&v, "vsock_9999"));
    v.t->ops->vm_remove(v.t, CID);
    assert_false(exists(&v, "vsock_9999"));
    assert_int_equal(v.t->ops->vm_add(v.t, CID, v.dir, NULL), 0);
    assert_true(exists(&v, "vsock_9999"));
    assert_true(exists(&v, "vsock")); /* the VMM's own */
    vmm_end(&v);
}

static void
the_socket_of_a_successor_is_left_alone(void **state)
{
    struct vmm v;
    struct transport_listener *l;
    char path[128];
    int fd;

    vmm_start(&v, state);
    assert_int_equal(v.t->ops->listen(v.t, 7777, on_accept_none, NULL, &l, NULL), 0);
    (void)snprintf(path, sizeof(path), "%s/vsock_7777", v.dir);
    assert_int_equal(os_unix_listen(path, 0600, 8, &fd, NULL), 0);
    v.t->ops->unlisten(l);
    assert_true(exists(&v, "vsock_7777"));
    (void)close(fd);
    vmm_end(&v);
}

static void
a_vm_whose_sockets_cannot_be_made_is_not_added(void **state)
{
    struct vmm v;
    struct transport_listener *l;
    struct vmt_err err;

    vmm_start(&v, state);
    assert_int_equal(v.t->ops->listen(v.t, 7777, on_accept_none, NULL, &l, NULL), 0);
    assert_int_equal(v.t->ops->vm_add(v.t, 41, "/no/such/dir", &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/no/such/dir"));
    assert_int_equal(v.t->ops->vm_add(v.t, 41, NULL, &err), -EINVAL);
    vmm_end(&v);
}

static void
a_listener_that_fails_for_one_vm_is_gone_for_all(void **state)
{
    struct vmm v;
    struct transport_listener *l = NULL;
    char gone[] = "/tmp/vmt_test_gone.XXXXXX";

    vmm_start(&v, state);
    assert_non_null(mkdtemp(gone));
    assert_int_equal(v.t->ops->vm_add(v.t, 41, gone, NULL), 0);
    assert_int_equal(rmdir(gone), 0);
    assert_int_equal(v.t->ops->listen(v.t, 7777, on_accept_none, NULL, &l, NULL),
                     -ENOENT);
    assert_null(l);
    assert_false(exists(&v, "vsock_7777"));
    vmm_end(&v);
}

#define LOOP_TEST(f)                                                                     \
    cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(the_request_is_as_the_convention_says),
        LOOP_TEST(an_answer_byte_by_byte_is_understood_and_what_follows_is_the_streams),
        LOOP_TEST(bytes_in_the_same_write_as_the_answer_are_the_streams),
        LOOP_TEST(any_other_answer_is_a_refusal),
        LOOP_TEST(an_end_at_any_byte_of_the_answer_is_a_refusal),
        LOOP_TEST(a_missing_vmm_is_told_with_its_path),
        LOOP_TEST(a_full_backlog_is_tried_again),
        LOOP_TEST(sockets_come_with_vms_and_listeners_and_go_with_them),
        LOOP_TEST(the_socket_of_a_successor_is_left_alone),
        LOOP_TEST(a_vm_whose_sockets_cannot_be_made_is_not_added),
        LOOP_TEST(a_listener_that_fails_for_one_vm_is_gone_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
