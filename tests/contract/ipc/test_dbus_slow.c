/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/test_dbus_slow.c - a bus that does not read what the daemon sends.
 *
 * The bus is a child: a DBusServer that answers what a client of a bus asks for first,
 * sends calls as if it had clients, and otherwise does as the test says by pipe. The
 * daemon is this process, so that what it holds can be measured. */
#include <dbus/dbus.h>

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "platform/linux/dbus/dbus_server.h"
#include "platform/linux/os/loop.h"
#include "tests/contract/ipc/echo.h"
#include "tests/unit/test.h"
#include "vmt_ipc.pb-c.h"

#define SIGNAL_LEN (1024u * 1024)
#define SIGNALS 100
#define CALL_LEN (256u * 1024)
#define CALLS 400
/* Signals are dropped above 16 MiB; of calls, 32 MiB are read and 8 MiB answered ahead.
 */
#define SIGNALS_HELD_MAX (24u * 1024 * 1024)
#define CALLS_HELD_MAX (64u * 1024 * 1024)
#define QUIET_MS 500
#define DEADLINE_MS 120000

struct fixture {
    char dir[64], address[96];
    pid_t bus;
    int to_bus;   /* a byte for each thing that it shall do */
    int from_bus; /* an int for each thing that is done */
    struct os_loop *loop;
    struct echo echo;
    struct ipc_server *server; /* ipc's */
};

/* ---- in the child */

static DBusConnection *bus_client;

static void
bus_die(const char *what)
{
    (void)fprintf(stderr, "the bus of the test: %s\n", what);
    _exit(1);
}

static void
bus_on_connection(DBusServer *server, DBusConnection *conn, void *arg)
{
    (void)server, (void)arg;
    dbus_connection_set_allow_anonymous(conn, TRUE);
    bus_client = dbus_connection_ref(conn);
}

static void
bus_answer(DBusMessage *msg)
{
    DBusMessage *reply = dbus_message_new_method_return(msg);
    const char *name = ":1.1", *member = dbus_message_get_member(msg);
    dbus_uint32_t one = DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER;
    DBusMessageIter it, dict, entry, value;
    const char *key = "UnixUserID";
    dbus_uint32_t uid = 0;

    dbus_message_iter_init_append(reply, &it);
    if (strcmp(member, "Hello") == 0) {
        (void)dbus_message_iter_append_basic(&it, DBUS_TYPE_STRING, &name);
    } else if (strcmp(member, "RequestName") == 0) {
        (void)dbus_message_iter_append_basic(&it, DBUS_TYPE_UINT32, &one);
    } else if (strcmp(member, "GetConnectionCredentials") == 0) {
        (void)dbus_message_iter_open_container(&it, DBUS_TYPE_ARRAY, "{sv}", &dict);
        (void)dbus_message_iter_open_container(&dict, DBUS_TYPE_DICT_ENTRY, NULL, &entry);
        (void)dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &key);
        (void)dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, "u", &value);
        (void)dbus_message_iter_append_basic(&value, DBUS_TYPE_UINT32, &uid);
        (void)dbus_message_iter_close_container(&entry, &value);
        (void)dbus_message_iter_close_container(&dict, &entry);
        (void)dbus_message_iter_close_container(&it, &dict);
    }
    (void)dbus_message_set_sender(reply, DBUS_SERVICE_DBUS);
    (void)dbus_connection_send(bus_client, reply, NULL);
    dbus_message_unref(reply);
}

/* The name, the match, and who ":1.7" is; then nothing more is read. */
static void
bus_serve(int questions)
{
    while (questions > 0) {
        DBusMessage *msg;

        if (!dbus_connection_read_write(bus_client, -1))
            bus_die("the daemon left");
        while ((msg = dbus_connection_pop_message(bus_client))) {
            if (dbus_message_get_type(msg) == DBUS_MESSAGE_TYPE_METHOD_CALL) {
                bus_answer(msg);
                questions--;
            }
            dbus_message_unref(msg);
        }
    }
    dbus_connection_flush(bus_client);
}

/* libdbus reads whenever it writes, but no further than one message that nobody takes. */
static void
bus_stop_reading(void)
{
    dbus_connection_set_max_received_size(bus_client, 1);
}

static void
bus_call(size_t len)
{
    DBusMessage *msg = dbus_message_new_method_call(
        echo_service.dbus_name, echo_service.dbus_path, echo_service.dbus_name, "Echo");
    uint8_t *bytes = calloc(1, len + 8);
    uint8_t *end = bytes;
    size_t rest = len;

    *end++ = 0x12; /* field 2, length-delimited */
    for (; rest >= 128; rest >>= 7)
        *end++ = (uint8_t)(rest | 128);
    *end++ = (uint8_t)rest;
    if (!dbus_message_append_args(msg, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE, &bytes,
                                  (int)(end - bytes + (ssize_t)len), DBUS_TYPE_INVALID))
        bus_die("no memory");
    (void)dbus_message_set_sender(msg, ":1.7");
    (void)dbus_connection_send(bus_client, msg, NULL);
    dbus_message_unref(msg);
    free(bytes);
}

/* Count the replies to CALLS calls. */
static int
bus_count_replies(void)
{
    int n = 0;

    dbus_connection_set_max_received_size(bus_client, 1 << 30);
    while (n < CALLS && dbus_connection_read_write(bus_client, -1)) {
        DBusMessage *msg;

        while ((msg = dbus_connection_pop_message(bus_client))) {
            n += dbus_message_get_type(msg) == DBUS_MESSAGE_TYPE_METHOD_RETURN;
            dbus_message_unref(msg);
        }
    }
    return n;
}

static dbus_bool_t
bus_add_watch(DBusWatch *watch, void *arg)
{
    *(DBusWatch **)arg = watch;
    return TRUE;
}

static void
bus_remove_watch(DBusWatch *watch, void *arg)
{
    (void)watch, (void)arg;
}

static void
bus_wait(int fd)
{
    char c;

    if (read(fd, &c, 1) != 1)
        _exit(0);
}

static bool
bus_is_told(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

static void
bus_tell(int fd, int n)
{
    if (write(fd, &n, sizeof(n)) != sizeof(n))
        bus_die("nobody listens");
}

static void
bus_main(const char *address, int in, int out)
{
    DBusWatch *watch = NULL;
    DBusServer *server = dbus_server_listen(address, NULL);

    if (!server || !dbus_server_set_watch_functions(server, bus_add_watch,
                                                    bus_remove_watch, NULL, &watch, NULL))
        bus_die("cannot listen");
    dbus_server_set_new_connection_function(server, bus_on_connection, NULL, NULL);
    bus_tell(out, 0);
    while (!bus_client) /* a server without a loop accepts when its watch is told to */
        (void)dbus_watch_handle(watch, DBUS_WATCH_READABLE);
    bus_serve(3); /* Hello, AddMatch, RequestName */
    bus_wait(in);
    bus_call(1);
    bus_serve(1); /* who is ":1.7"? */
    bus_stop_reading();
    for (int i = 0; i < CALLS; i++)
        bus_call(CALL_LEN);
    while (dbus_connection_has_messages_to_send(bus_client) && !bus_is_told(in))
        if (!dbus_connection_read_write(bus_client, 10))
            bus_die("the daemon left");
    bus_wait(in);
    bus_tell(out, bus_count_replies());
    bus_wait(in);
    _exit(0);
}

/* ---- in the test */

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* Bytes that this process has allocated and not freed. */
static size_t
held(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    return mallinfo2().uordblks + mallinfo2().hblkhd;
}

static int
bus_told(const struct fixture *f)
{
    int n;

    assert_int_equal(read(f->from_bus, &n, sizeof(n)), sizeof(n));
    return n;
}

static void
tell_bus(const struct fixture *f)
{
    assert_int_equal(write(f->to_bus, "", 1), 1);
}

static void
on_turn_over(void *arg)
{
    os_loop_stop(arg, 0);
}

static void
run(struct fixture *f, uint64_t ms)
{
    struct vmt_clock *clock = os_loop_clock(f->loop);
    struct vmt_timer *timer;

    assert_int_equal(clock->ops->timer_start(clock, ms, on_turn_over, f->loop, &timer),
                     0);
    (void)os_loop_run(f->loop);
}

static void
start_bus(struct fixture *f)
{
    int to[2], from[2];

    assert_int_equal(pipe(to) | pipe(from), 0);
    f->bus = fork();
    assert_true(f->bus >= 0);
    if (f->bus == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(to[1]);
        (void)close(from[0]);
        bus_main(f->address, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    f->to_bus = to[1];
    f->from_bus = from[0];
    assert_int_equal(bus_told(f), 0); /* it listens */
}

static int
setup(void **state)
{
    static struct fixture f;
    struct dbus_server_config config = {.address = f.address};
    struct ipc_identity self = {.uid = (uint32_t)getuid()};

    f = (struct fixture){.dir = "/tmp/vmt_ipc.XXXXXX"};
    assert_non_null(mkdtemp(f.dir));
    (void)snprintf(f.address, sizeof(f.address), "unix:path=%s/bus", f.dir);
    start_bus(&f);
    assert_int_equal(os_loop_new(&f.loop, NULL), 0);
    assert_int_equal(ipc_new(&echo_service, &f.echo, &self, &f.echo.ipc, NULL), 0);
    assert_int_equal(dbus_server_new(f.loop, f.echo.ipc, &config, &f.server, NULL), 0);
    assert_int_equal(ipc_add_server(f.echo.ipc, f.server, NULL), 0);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    char path[96];

    ipc_free(f->echo.ipc);
    echo_done(&f->echo);
    os_loop_free(f->loop);
    (void)close(f->to_bus);
    (void)close(f->from_bus);
    (void)kill(f->bus, SIGKILL);
    (void)waitpid(f->bus, NULL, 0);
    (void)snprintf(path, sizeof(path), "%s/bus", f->dir);
    (void)unlink(path);
    return rmdir(f->dir);
}

static void
signals_that_the_bus_does_not_read_are_dropped(void **state)
{
    struct fixture *f = *state;
    uint8_t *bytes = calloc(1, SIGNAL_LEN);
    size_t before = held();
    Vmt__Signal m;

    assert_non_null(bytes);
    vmt__signal__init(&m);
    m.message.data = bytes;
    m.message.len = SIGNAL_LEN;
    for (int i = 0; i < SIGNALS; i++) {
        assert_int_equal(ipc_emit(f->echo.ipc, "Rose", &m.base), 0);
        run(f, 0); /* nothing in here waits for the bus */
        assert_true(held() - before < SIGNALS_HELD_MAX);
    }
    assert_true(held() - before > SIGNAL_LEN); /* it did not read them either */
    free(bytes);
}

static void
calls_wait_while_the_bus_does_not_read_the_answers(void **state)
{
    struct fixture *f = *state;
    struct pollfd told = {.fd = f->from_bus, .events = POLLIN};
    size_t before = held(), last = 0;
    int waited = 0;

    tell_bus(f);
    do { /* until nothing comes any more */
        last = held();
        run(f, QUIET_MS);
        assert_true(held() - before < CALLS_HELD_MAX);
    } while (held() != last || held() - before < CALL_LEN);
    tell_bus(f); /* now it reads */
    for (; poll(&told, 1, 0) == 0; waited += 20) {
        assert_true(waited < DEADLINE_MS);
        run(f, 20);
        assert_true(held() - before < CALLS_HELD_MAX);
    }
    assert_int_equal(bus_told(f), CALLS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(signals_that_the_bus_does_not_read_are_dropped,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            calls_wait_while_the_bus_does_not_read_the_answers, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
