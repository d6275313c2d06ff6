/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/ipc_client.c - call an echo service of bench/ipc as fast as it answers.
 *
 *   bench_ipc_client unix|dbus ADDRESS CALLS OUTSTANDING
 *
 * Prints calls per second, and the median and the 99th percentile of the time that one
 * call took, in microseconds. On a bus the client is bare libdbus, on a socket ours. */
#include <dbus/dbus.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/unix_ipc/unix_client.h"

#include "echo.pb-c.h"

#define DATA_LEN 30 /* a message of 32 bytes */
#define OUTSTANDING_MAX 64

struct bench {
    size_t calls, outstanding;
    size_t started, ended;
    double *took; /* owned; microseconds, in the order of the answers */
    /* on a socket */
    struct os_loop *loop;
    struct unix_client *client;
    struct slot {
        struct bench *bench; /* borrowed */
        double began;        /* the serial stands for the slot on a bus */
        dbus_uint32_t serial;
    } slots[OUTSTANDING_MAX];
    /* on a bus */
    DBusConnection *conn;
};

static uint8_t data[DATA_LEN];

static void
die(const char *what)
{
    (void)fprintf(stderr, "bench_ipc_client: %s\n", what);
    exit(EXIT_FAILURE);
}

static double
now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void
slot_over(struct slot *slot)
{
    struct bench *b = slot->bench;

    b->took[b->ended++] = now_us() - slot->began;
}

static void on_done(void *arg, const struct rpc_status *status,
                    const struct ProtobufCMessage *reply, const int *fds, size_t nfds);

static void
unix_call(struct slot *slot)
{
    Vmt__Bench__Payload m = VMT__BENCH__PAYLOAD__INIT;
    const struct unix_client_request request = {
        .method = "Unary",
        .message = &m.base,
        .reply = &vmt__bench__payload__descriptor,
        .on_done = on_done,
        .arg = slot,
    };

    m.data.data = data;
    m.data.len = sizeof(data);
    slot->began = now_us();
    slot->bench->started++;
    if (unix_client_start(slot->bench->client, &request, NULL, NULL) < 0)
        die("a call cannot be made");
}

static void
on_done(void *arg, const struct rpc_status *status, const struct ProtobufCMessage *reply,
        const int *fds, size_t nfds)
{
    const Vmt__Bench__Payload *m = (const Vmt__Bench__Payload *)reply;
    struct slot *slot = arg;
    struct bench *b = slot->bench;

    (void)fds, (void)nfds;
    if (status->code != RPC_OK || m->data.len != sizeof(data))
        die("a call failed");
    slot_over(slot);
    if (b->started < b->calls)
        unix_call(slot);
    else if (b->ended == b->calls)
        os_loop_stop(b->loop, 0);
}

static void
unix_run(struct bench *b, const char *path)
{
    const struct unix_client_config config = {.path = path, .service = "vmt.bench.Echo"};

    if (os_loop_new(&b->loop, NULL) < 0 ||
        unix_client_new(b->loop, &config, &b->client, NULL) < 0)
        die("nobody listens");
    for (size_t i = 0; i < b->outstanding; i++)
        unix_call(&b->slots[i]);
    (void)os_loop_run(b->loop);
    unix_client_free(b->client);
    os_loop_free(b->loop);
}

static void
dbus_call(struct slot *slot)
{
    static const uint8_t head[] = {0x0a, DATA_LEN}; /* field 1, length-delimited */
    uint8_t bytes[sizeof(head) + DATA_LEN];
    const uint8_t *argument = bytes;
    DBusMessage *msg = dbus_message_new_method_call(
        "org.vmt.bench.Echo", "/org/vmt/bench/Echo", "org.vmt.bench.Echo", "Unary");

    memcpy(bytes, head, sizeof(head));
    memcpy(bytes + sizeof(head), data, sizeof(data));
    slot->began = now_us();
    slot->bench->started++;
    if (!msg ||
        !dbus_message_append_args(msg, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE, &argument,
                                  (int)sizeof(bytes), DBUS_TYPE_INVALID) ||
        !dbus_connection_send(slot->bench->conn, msg, &slot->serial))
        die("a call cannot be made");
    dbus_message_unref(msg);
}

static void
dbus_on_answer(struct bench *b, DBusMessage *msg)
{
    dbus_uint32_t serial = dbus_message_get_reply_serial(msg);

    if (dbus_message_get_type(msg) == DBUS_MESSAGE_TYPE_ERROR)
        die(dbus_message_get_error_name(msg));
    for (size_t i = 0; serial && i < b->outstanding; i++) {
        if (b->slots[i].serial != serial)
            continue;
        if (!dbus_message_has_signature(msg, "ay"))
            die("an answer has no bytes");
        slot_over(&b->slots[i]);
        if (b->started < b->calls)
            dbus_call(&b->slots[i]);
        return;
    }
}

static void
dbus_run(struct bench *b, const char *address)
{
    DBusMessage *msg;

    b->conn = dbus_connection_open_private(address, NULL);
    if (!b->conn || !dbus_bus_register(b->conn, NULL))
        die("no bus");
    for (size_t i = 0; i < b->outstanding; i++)
        dbus_call(&b->slots[i]);
    while (b->ended < b->calls) {
        if (!dbus_connection_read_write(b->conn, -1))
            die("the bus is gone");
        while ((msg = dbus_connection_pop_message(b->conn))) {
            dbus_on_answer(b, msg);
            dbus_message_unref(msg);
        }
    }
    dbus_connection_close(b->conn);
    dbus_connection_unref(b->conn);
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
    struct bench b = {0};
    uint64_t calls = 0, outstanding = 0;
    double began;

    os_process_init();
    vmt_log_init("bench_ipc_client", NULL, NULL);
    if (argc != 5 || vmt_parse_u64(argv[3], 100000000, &calls) < 0 ||
        vmt_parse_u64(argv[4], OUTSTANDING_MAX, &outstanding) < 0 || outstanding == 0 ||
        calls < outstanding)
        die("usage: bench_ipc_client unix|dbus ADDRESS CALLS OUTSTANDING");
    b.calls = calls;
    b.outstanding = outstanding;
    b.took = calloc(calls, sizeof(*b.took));
    if (!b.took)
        die("out of memory");
    for (size_t i = 0; i < OUTSTANDING_MAX; i++)
        b.slots[i].bench = &b;
    began = now_us();
    if (strcmp(argv[1], "unix") == 0)
        unix_run(&b, argv[2]);
    else
        dbus_run(&b, argv[2]);
    began = now_us() - began;
    qsort(b.took, calls, sizeof(*b.took), by_value);
    (void)printf("%.0f %.1f %.1f\n", (double)calls / began * 1e6, b.took[calls / 2],
                 b.took[calls * 99 / 100]);
    free(b.took);
    return EXIT_SUCCESS;
}
