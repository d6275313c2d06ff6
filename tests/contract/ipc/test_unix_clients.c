/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/test_unix_clients.c - the unix server counts and limits its clients.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/unix_ipc/unix_client.h"
#include "platform/linux/unix_ipc/unix_server.h"
#include "tests/contract/ipc/echo.h"
#include "tests/unit/test.h"
#include "vmt_ipc.pb-c.h"

#define DEADLINE_MS 120000
#define NOBODY 65534u

struct fixture {
    char dir[64], path[96];
    struct os_loop *loop;
    struct echo echo;
    struct ipc_server *server; /* ipc's */
    size_t reported;           /* by on_clients */
    size_t awaited;            /* stop the loop at this number of clients */
    int closed, done, refused, drained;
    struct rpc_status status; /* of the newest call to end */
};

/* What one subscriber heard: names of VMs, each with a space. */
struct heard {
    struct fixture *f;
    char names[64];
};

static void
on_clients(void *arg, size_t clients)
{
    struct fixture *f = arg;

    f->reported = clients;
    if (clients == f->awaited)
        os_loop_stop(f->loop, 0);
}

static void
on_late(void *arg)
{
    (void)arg;
    fail_msg("nothing happened in time");
}

/* Run the loop until somebody stops it. */
static void
run(struct fixture *f)
{
    struct vmt_clock *clock = os_loop_clock(f->loop);
    struct vmt_timer *late;

    assert_int_equal(clock->ops->timer_start(clock, DEADLINE_MS, on_late, NULL, &late),
                     0);
    (void)os_loop_run(f->loop);
    clock->ops->timer_cancel(clock, late);
}

static void
await_clients(struct fixture *f, size_t n)
{
    f->awaited = n;
    if (f->reported != n)
        run(f);
    assert_int_equal(f->reported, n);
    assert_int_equal(unix_server_clients(f->server), n);
}

/* The echo service with a signal that names its owner. */
static const struct ipc_signal owned_signals[] = {
    {"VmStoppedSignal", &vm_tools__concierge__vm_stopped_signal__descriptor}};
static struct ipc_service owned_service;

static int
setup_service(void **state, size_t connections_max, const struct ipc_service *service)
{
    static struct fixture f;
    struct unix_server_config config = {
        .connections_max = connections_max, .on_clients = on_clients, .arg = &f};
    struct ipc_identity self = {.uid = (uint32_t)getuid()};

    f = (struct fixture){.dir = "/tmp/vmt_ipc.XXXXXX"};
    assert_non_null(mkdtemp(f.dir));
    (void)snprintf(f.path, sizeof(f.path), "%s/sock", f.dir);
    assert_int_equal(os_loop_new(&f.loop, NULL), 0);
    assert_int_equal(ipc_new(service, &f.echo, &self, &f.echo.ipc, NULL), 0);
    assert_int_equal(os_unix_listen(f.path, 0600, 16, &config.listen_fd, NULL), 0);
    assert_int_equal(unix_server_new(f.loop, f.echo.ipc, &config, &f.server, NULL), 0);
    assert_int_equal(ipc_add_server(f.echo.ipc, f.server, NULL), 0);
    *state = &f;
    return 0;
}

static int
setup_with(void **state, size_t connections_max)
{
    return setup_service(state, connections_max, &echo_service);
}

static int
setup_owned(void **state)
{
    owned_service = echo_service;
    owned_service.signals = owned_signals;
    owned_service.nsignals = VMT_ARRAY_SIZE(owned_signals);
    return setup_service(state, 8, &owned_service);
}

static int
setup(void **state)
{
    return setup_with(state, 2);
}

static int
setup_eight(void **state)
{
    return setup_with(state, 8);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    ipc_free(f->echo.ipc);
    echo_done(&f->echo);
    os_loop_free(f->loop);
    (void)unlink(f->path);
    return rmdir(f->dir);
}

static void
on_closed(void *arg, const char *reason)
{
    struct fixture *f = arg;

    (void)reason;
    f->closed++;
    os_loop_stop(f->loop, 0);
}

static struct unix_client *
client_new(struct fixture *f)
{
    struct unix_client_config config = {.path = f->path,
                                        .service = echo_service.grpc_name,
                                        .on_closed = on_closed,
                                        .arg = f};
    struct unix_client *c;

    assert_int_equal(unix_client_new(f->loop, &config, &c, NULL), 0);
    return c;
}

static void
clients_are_counted_as_they_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct unix_client *a, *b;

    await_clients(f, 0);
    a = client_new(f);
    await_clients(f, 1);
    b = client_new(f);
    await_clients(f, 2);
    unix_client_free(a);
    await_clients(f, 1);
    unix_client_free(b);
    await_clients(f, 0);
}

static void
on_done(void *arg, const struct rpc_status *status, const struct ProtobufCMessage *reply,
        const int *fds, size_t nfds)
{
    struct fixture *f = arg;

    (void)reply;
    (void)fds;
    assert_int_equal(nfds, 0);
    assert_int_equal(status->code, RPC_OK);
    f->done++;
    os_loop_stop(f->loop, 0);
}

static void
a_client_too_many_is_closed_and_the_others_live_on(void **state)
{
    struct fixture *f = *state;
    struct unix_client_request request = {
        .method = "Nothing", .on_done = on_done, .arg = f};
    struct unix_client *c[3];

    for (int i = 0; i < 2; i++) {
        c[i] = client_new(f);
        await_clients(f, (size_t)i + 1);
    }
    f->awaited = SIZE_MAX;
    c[2] = client_new(f);
    while (f->closed == 0)
        run(f);
    assert_int_equal(unix_client_start(c[0], &request, NULL, NULL), 0);
    while (f->done == 0)
        run(f);
    assert_int_equal(f->closed, 1);
    for (int i = 0; i < 3; i++)
        unix_client_free(c[i]);
    await_clients(f, 0);
}

static void
one_user_cannot_take_every_connection(void **state)
{
    struct fixture *f = *state;
    struct unix_client *c[2], *mine;

    if (getuid() != 0) /* needs a second uid */
        skip();
    f->awaited = SIZE_MAX;
    assert_int_equal(chmod(f->dir, 0755) | chmod(f->path, 0666), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    for (int i = 0; i < 2; i++)
        c[i] = client_new(f);
    assert_int_equal(seteuid(0), 0);
    while (f->closed == 0) /* of two places, nobody gets one */
        run(f);
    mine = client_new(f);
    await_clients(f, 2);
    assert_int_equal(f->closed, 1);
    unix_client_free(mine);
    unix_client_free(c[0]);
    unix_client_free(c[1]);
    await_clients(f, 0);
}

static void
all_users_together_leave_room_for_root(void **state)
{
    struct fixture *f = *state;
    struct unix_client *c[8], *mine[2];

    if (getuid() != 0) /* needs more uids */
        skip();
    f->awaited = SIZE_MAX;
    assert_int_equal(chmod(f->dir, 0755) | chmod(f->path, 0666), 0);
    for (uid_t i = 0; i < 8; i++) {
        assert_int_equal(seteuid(NOBODY - i / 2), 0);
        c[i] = client_new(f);
        assert_int_equal(seteuid(0), 0);
    }
    while (f->closed < 2)
        run(f);
    for (int i = 0; i < 2; i++)
        mine[i] = client_new(f);
    await_clients(f, 8);
    assert_int_equal(f->closed, 2);
    for (int i = 0; i < 8; i++)
        unix_client_free(c[i]);
    for (int i = 0; i < 2; i++)
        unix_client_free(mine[i]);
    await_clients(f, 0);
}

static void
on_signal(void *arg, const char *name, const uint8_t *bytes, size_t len)
{
    (void)arg, (void)name, (void)bytes, (void)len;
}

static void
on_ready(void *arg)
{
    struct fixture *f = arg;

    f->done++;
    os_loop_stop(f->loop, 0);
}

static void
on_end(void *arg, const struct rpc_status *status)
{
    struct fixture *f = arg;

    assert_int_equal(status->code, RPC_RESOURCE_EXHAUSTED);
    f->refused++;
    os_loop_stop(f->loop, 0);
}

static void
one_user_cannot_take_every_subscription(void **state)
{
    struct fixture *f = *state;
    struct unix_client_subscription all = {
        .on_signal = on_signal, .on_ready = on_ready, .on_end = on_end, .arg = f};
    struct unix_client *c[2], *mine;
    enum { EACH = 200 };

    if (getuid() != 0) /* needs a second uid */
        skip();
    f->awaited = SIZE_MAX;
    assert_int_equal(chmod(f->dir, 0755) | chmod(f->path, 0666), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    for (int i = 0; i < 2; i++)
        c[i] = client_new(f);
    assert_int_equal(seteuid(0), 0);
    for (int i = 0; i < 2 * EACH; i++)
        assert_int_equal(unix_client_subscribe(c[i % 2], &all, NULL, NULL), 0);
    while (f->done + f->refused < 2 * EACH)
        run(f);
    assert_true(f->refused > 0 && f->done > 0);
    f->done = 0;
    mine = client_new(f);
    assert_int_equal(unix_client_subscribe(mine, &all, NULL, NULL), 0);
    while (f->done == 0)
        run(f);
    unix_client_free(mine);
    unix_client_free(c[0]);
    unix_client_free(c[1]);
    await_clients(f, 0);
}

static void
on_stopped(void *arg, const char *name, const uint8_t *bytes, size_t len)
{
    struct heard *heard = arg;
    VmTools__Concierge__VmStoppedSignal *m =
        vm_tools__concierge__vm_stopped_signal__unpack(NULL, len, bytes);
    size_t used;

    assert_string_equal(name, "VmStoppedSignal");
    assert_non_null(m);
    used = strlen(heard->names);
    (void)snprintf(heard->names + used, sizeof(heard->names) - used, "%s ", m->name);
    vm_tools__concierge__vm_stopped_signal__free_unpacked(m, NULL);
    os_loop_stop(heard->f->loop, 0);
}

static void
on_heard_ready(void *arg)
{
    on_ready(((struct heard *)arg)->f);
}

static void
on_heard_end(void *arg, const struct rpc_status *status)
{
    (void)arg, (void)status;
}

static void
emit_stopped(struct fixture *f, char *name, uint32_t uid)
{
    VmTools__Concierge__VmStoppedSignal m;
    char owner[IPC_OWNER_MAX];

    vm_tools__concierge__vm_stopped_signal__init(&m);
    ipc_owner_for_uid(uid, owner);
    m.owner_id = owner;
    m.name = name;
    assert_int_equal(ipc_emit(f->echo.ipc, "VmStoppedSignal", &m.base), 0);
}

static void
a_signal_of_an_owner_is_for_that_owner_and_root(void **state)
{
    struct fixture *f = *state;
    struct heard other = {.f = f}, mine = {.f = f};
    struct unix_client_subscription all = {
        .on_signal = on_stopped, .on_ready = on_heard_ready, .on_end = on_heard_end};
    struct unix_client *c[2];

    if (getuid() != 0) /* needs a second uid */
        skip();
    f->awaited = SIZE_MAX;
    assert_int_equal(chmod(f->dir, 0755) | chmod(f->path, 0666), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    c[0] = client_new(f);
    assert_int_equal(seteuid(0), 0);
    c[1] = client_new(f);
    all.arg = &other;
    assert_int_equal(unix_client_subscribe(c[0], &all, NULL, NULL), 0);
    all.arg = &mine;
    assert_int_equal(unix_client_subscribe(c[1], &all, NULL, NULL), 0);
    while (f->done < 2)
        run(f);
    emit_stopped(f, "secret", NOBODY - 1);
    emit_stopped(f, "own", NOBODY);
    while (!strstr(other.names, "own") || !strstr(mine.names, "own"))
        run(f);
    assert_string_equal(other.names, "own ");
    assert_string_equal(mine.names, "secret own ");
    unix_client_free(c[0]);
    unix_client_free(c[1]);
    await_clients(f, 0);
}

static void
a_call_that_is_cancelled_or_freed_calls_nobody_back(void **state)
{
    struct fixture *f = *state;
    struct unix_client_request request = {
        .method = "Nothing", .on_done = on_done, .arg = f};
    struct unix_client *c = client_new(f);
    struct unix_client_call *call;

    assert_int_equal(unix_client_start(c, &request, &call, NULL), 0);
    unix_client_cancel(call);
    assert_int_equal(unix_client_start(c, &request, NULL, NULL), 0);
    await_clients(f, 1);
    unix_client_free(c);
    await_clients(f, 0);
    assert_true(f->done <= 1); /* the second may have been answered before */
}

static void
on_any_end(void *arg, const struct rpc_status *status,
           const struct ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    struct fixture *f = arg;

    (void)reply, (void)fds, (void)nfds;
    f->status = *status;
    f->done++;
    os_loop_stop(f->loop, 0);
}

/* Returns how a call of Nothing ended. */
static enum rpc_code
call_nothing(struct fixture *f, struct unix_client *c)
{
    struct unix_client_request request = {
        .method = "Nothing", .on_done = on_any_end, .arg = f};
    int before = f->done;

    assert_int_equal(unix_client_start(c, &request, NULL, NULL), 0);
    while (f->done == before)
        run(f);
    return f->status.code;
}

static void
daemon_start(struct fixture *f)
{
    struct unix_server_config config = {.on_clients = on_clients, .arg = f};
    struct ipc_identity self = {.uid = (uint32_t)getuid()};

    assert_int_equal(ipc_new(&echo_service, &f->echo, &self, &f->echo.ipc, NULL), 0);
    assert_int_equal(os_unix_listen(f->path, 0600, 16, &config.listen_fd, NULL), 0);
    assert_int_equal(unix_server_new(f->loop, f->echo.ipc, &config, &f->server, NULL), 0);
    assert_int_equal(ipc_add_server(f->echo.ipc, f->server, NULL), 0);
}

static void
daemon_end(struct fixture *f)
{
    int before = f->closed;

    ipc_free(f->echo.ipc);
    f->echo.ipc = NULL;
    while (f->closed == before)
        run(f);
}

static void
a_client_outlives_its_daemon(void **state)
{
    struct fixture *f = *state;
    struct unix_client *c = client_new(f);

    assert_int_equal(call_nothing(f, c), RPC_OK);
    daemon_end(f);
    assert_int_equal(f->closed, 1);
    daemon_start(f);
    assert_int_equal(call_nothing(f, c), RPC_OK); /* the same client */
    daemon_end(f);
    assert_int_equal(call_nothing(f, c), RPC_UNAVAILABLE);
    assert_non_null(strstr(f->status.text, f->path));
    daemon_start(f);
    while (call_nothing(f, c) != RPC_OK)
        assert_int_equal(f->status.code, RPC_UNAVAILABLE); /* it backs off for a while */
    assert_int_equal(f->closed, 2);
    unix_client_free(c);
}

static void
on_end_leaving(void *arg, const struct rpc_status *status)
{
    struct fixture *f = arg;

    assert_int_equal(status->code, RPC_UNAVAILABLE);
    f->refused++;
    os_loop_stop(f->loop, 0);
}

static void
on_drained(void *arg)
{
    struct fixture *f = arg;

    f->drained++;
    os_loop_stop(f->loop, 0);
}

/* The grace is longer than the test may take: only peace ends it. */
static void
a_daemon_that_leaves_answers_first(void **state)
{
    struct fixture *f = *state;
    const struct unix_client_subscription all = {
        .on_signal = on_signal, .on_ready = on_ready, .on_end = on_end_leaving, .arg = f};
    Vmt__Signal message = VMT__SIGNAL__INIT;
    const struct unix_client_request later = {.method = "Later",
                                              .message = &message.base,
                                              .reply = &vmt__signal__descriptor,
                                              .on_done = on_any_end,
                                              .arg = f};
    struct unix_client *c = client_new(f);

    f->awaited = SIZE_MAX;
    assert_int_equal(unix_client_subscribe(c, &all, NULL, NULL), 0);
    assert_int_equal(unix_client_start(c, &later, NULL, NULL), 0);
    while (f->done == 0)
        run(f);
    assert_int_equal(call_nothing(f, c), RPC_OK); /* so the other one has come, too */
    assert_int_equal(f->echo.nlater, 1);
    assert_int_equal(unix_server_drain(f->server, 2 * DEADLINE_MS, on_drained, f, NULL),
                     0);
    while (f->refused == 0)
        run(f);
    assert_int_equal(f->done, 2);
    assert_int_equal(f->drained, 0);
    ipc_call_reply(f->echo.later[0], f->echo.requests[0], NULL, 0);
    f->echo.nlater = 0;
    while (f->done == 2 || f->drained == 0)
        run(f);
    assert_int_equal(f->status.code, RPC_OK);
    assert_int_equal(f->drained, 1);
    assert_int_equal(unix_server_clients(f->server), 0);
    unix_client_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clients_are_counted_as_they_come_and_go),
        TEST(a_client_too_many_is_closed_and_the_others_live_on),
        TEST(one_user_cannot_take_every_connection),
        cmocka_unit_test_setup_teardown(all_users_together_leave_room_for_root,
                                        setup_eight, teardown),
        cmocka_unit_test_setup_teardown(one_user_cannot_take_every_subscription,
                                        setup_eight, teardown),
        cmocka_unit_test_setup_teardown(a_signal_of_an_owner_is_for_that_owner_and_root,
                                        setup_owned, teardown),
        TEST(a_client_outlives_its_daemon),
        TEST(a_daemon_that_leaves_answers_first),
        TEST(a_call_that_is_cancelled_or_freed_calls_nobody_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
