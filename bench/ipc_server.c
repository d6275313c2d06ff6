/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/ipc_server.c - the echo services of bench/ipc.
 *
 *   bench_ipc_server unix PATH      our table on a unix socket
 *   bench_ipc_server dbus ADDRESS   our table on a bus
 *   bench_ipc_server bare ADDRESS   a bare libdbus service on that bus, without a table,
 *                                   an event loop, protobuf or a look at the caller
 *
 * One byte on stdout says that clients may come; all end on SIGTERM. */
#include <dbus/dbus.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/ipc/ipc.h"
#include "platform/linux/dbus/dbus_server.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/unix_ipc/unix_server.h"

#include "echo.pb-c.h"

#define BACKLOG 16

static void
on_echo(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    (void)ctx;
    ipc_call_reply(call, request, NULL, 0);
}

static const struct ipc_method methods[] = {
    {.name = "Unary",
     .request = &vmt__bench__payload__descriptor,
     .reply = &vmt__bench__payload__descriptor,
     .handle = on_echo},
};

static const struct ipc_service service = {.grpc_name = "vmt.bench.Echo",
                                           .dbus_name = "org.vmt.bench.Echo",
                                           .dbus_path = "/org/vmt/bench/Echo",
                                           .methods = methods,
                                           .nmethods = VMT_ARRAY_SIZE(methods)};

static void
tell_ready(void)
{
    if (write(STDOUT_FILENO, "\n", 1) != 1)
        exit(EXIT_FAILURE);
}

static void
on_terminate(void *arg, int sig)
{
    (void)sig;
    os_loop_stop(arg, 0);
}

static int
add_server(struct os_loop *loop, struct ipc *ipc, char **argv, struct vmt_err *err)
{
    struct unix_server_config on_socket = {.listen_fd = -1};
    const struct dbus_server_config on_bus = {.address = argv[2]};
    struct ipc_server *server = NULL;
    int r;

    if (strcmp(argv[1], "dbus") == 0) {
        r = dbus_server_new(loop, ipc, &on_bus, &server, err);
    } else {
        r = os_unix_listen(argv[2], 0600, BACKLOG, &on_socket.listen_fd, err);
        if (r == 0)
            r = unix_server_new(loop, ipc, &on_socket, &server, err);
    }
    return r < 0 ? r : ipc_add_server(ipc, server, err);
}

static int
run_ours(char **argv, struct vmt_err *err)
{
    const struct ipc_identity self = {.uid = (uint32_t)geteuid()};
    struct os_loop *loop = NULL;
    struct ipc *ipc = NULL;
    int r = os_loop_new(&loop, err);

    if (r == 0)
        r = os_loop_on_signal(loop, SIGTERM, on_terminate, loop, err);
    if (r == 0)
        r = ipc_new(&service, NULL, &self, &ipc, err);
    if (r == 0)
        r = add_server(loop, ipc, argv, err);
    if (r == 0) {
        tell_ready();
        r = os_loop_run(loop);
    }
    ipc_free(ipc);
    os_loop_free(loop);
    return r;
}

/* Send the "ay" of a call back. */
static DBusHandlerResult
on_bare_message(DBusConnection *conn, DBusMessage *msg, void *arg)
{
    const uint8_t *bytes = NULL;
    DBusMessage *reply;
    int n = 0;

    (void)arg;
    if (dbus_message_get_type(msg) != DBUS_MESSAGE_TYPE_METHOD_CALL ||
        !dbus_message_get_args(msg, NULL, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE, &bytes, &n,
                               DBUS_TYPE_INVALID))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    reply = dbus_message_new_method_return(msg);
    if (!reply ||
        !dbus_message_append_args(reply, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE, &bytes, n,
                                  DBUS_TYPE_INVALID) ||
        !dbus_connection_send(conn, reply, NULL))
        exit(EXIT_FAILURE);
    dbus_message_unref(reply);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static int
run_bare(const char *address, struct vmt_err *err)
{
    DBusConnection *conn = dbus_connection_open_private(address, NULL);

    if (!conn || !dbus_bus_register(conn, NULL) ||
        dbus_bus_request_name(conn, service.dbus_name, 0, NULL) < 0 ||
        !dbus_connection_add_filter(conn, on_bare_message, NULL, NULL))
        return vmt_err_setx(err, ECONNREFUSED, "no bus at %s", address);
    tell_ready();
    while (dbus_connection_read_write_dispatch(conn, -1))
        ;
    return 0;
}

int
main(int argc, char **argv)
{
    struct vmt_err err = {0};
    int r;

    os_process_init();
    vmt_log_init("bench_ipc_server", NULL, NULL);
    if (argc != 3) {
        (void)fprintf(stderr, "usage: %s unix PATH | dbus ADDRESS | bare ADDRESS\n",
                      argv[0]);
        return EXIT_FAILURE;
    }
    r = strcmp(argv[1], "bare") == 0 ? run_bare(argv[2], &err) : run_ours(argv, &err);
    if (r < 0)
        vmt_log_error("%s", vmt_err_text(&err));
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
