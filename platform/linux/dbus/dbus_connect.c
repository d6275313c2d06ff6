/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_connect.c - to the bus, and back to it when it was gone.
 *
 * A system bus that is restarted takes its clients' connections with it. For systemd a
 * service of Type=dbus is over when its name has no owner, so the name is taken again as
 * soon as there is a bus: first after DBUS_RETRY_MIN_MS, then after twice that and so on.
 * The VMs and the other servers of the daemon go on meanwhile. Only the first attempt, at
 * the start of the daemon, waits for the bus; a later one is a chain of calls.
 * Source: D-Bus specification 0.41, "Message Bus Messages"; systemd 252,
 * src/core/service.c, service_good. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/dbus/dbus_internal.h"

#define DBUS_RETRY_MIN_MS 100
#define DBUS_RETRY_MAX_MS 5000
#define DBUS_STEP_TIMEOUT_MS 25000

/* More than any bus lets through by default (16), as many as the kernel passes at once:
 * libdbus gives the connection up when a message has more than it was told to expect, and
 * then any client could end it. Source: SCM_MAX_FD, Linux include/net/scm.h. */
#define DBUS_MESSAGE_FDS_MAX 253

/* Rounds of writing at the end, none of which waits. */
#define DBUS_LAST_WRITES 64

/* Somebody leaves the bus. */
#define DBUS_MATCH_VANISHED                                                              \
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"          \
    "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''"

/* Serve the object. The name comes after it: whoever sees the name may call. */
static bool
bus_export(struct dbus_ipc *d)
{
    static const DBusObjectPathVTable vtable = {.message_function =
                                                    dbus_methods_on_message};

    dbus_connection_set_exit_on_disconnect(d->conn, FALSE);
    dbus_connection_set_max_message_unix_fds(d->conn, DBUS_MESSAGE_FDS_MAX);
    dbus_connection_set_max_received_size(d->conn, DBUS_INCOMING_MAX);
    return dbus_connection_add_filter(d->conn, dbus_server_filter, d, NULL) &&
           dbus_connection_try_register_object_path(
               d->conn, ipc_service(d->ipc)->dbus_path, &vtable, d, NULL);
}

static int
bus_own_name(struct dbus_ipc *d, struct vmt_err *err)
{
    VMT_CLEANUP(dbus_error_free) DBusError e = DBUS_ERROR_INIT;
    const char *name = ipc_service(d->ipc)->dbus_name;
    int r;

    dbus_bus_add_match(d->conn, DBUS_MATCH_VANISHED, &e);
    if (dbus_error_is_set(&e))
        return vmt_err_setx(err, ECONNREFUSED, "watch clients of the bus: %s", e.message);
    r = dbus_bus_request_name(d->conn, name, DBUS_NAME_FLAG_DO_NOT_QUEUE, &e);
    if (r < 0)
        return vmt_err_setx(err, ECONNREFUSED, "own %s on the bus: %s", name, e.message);
    if (r != DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER)
        return vmt_err_setx(err, EBUSY, "own %s on the bus: somebody else owns it", name);
    return 0;
}

static void retry_on_event(evutil_socket_t fd, short what, void *arg);

int
dbus_connect(struct dbus_ipc *d, const char *address, struct vmt_err *err)
{
    VMT_CLEANUP(dbus_error_free) DBusError e = DBUS_ERROR_INIT;
    int r;

    d->address = dbus_bus_address(address);
    d->retry = event_new(d->loop, -1, 0, retry_on_event, d);
    d->retry_ms = DBUS_RETRY_MIN_MS;
    if (!d->address || !d->retry)
        return vmt_err_set(err, ENOMEM, "connect to bus %s", address);
    d->conn = dbus_connection_open_private(d->address, &e);
    if (!d->conn)
        return vmt_err_setx(err, ECONNREFUSED, "connect to bus %s: %s", address,
                            e.message);
    if (!bus_export(d))
        return vmt_err_set(err, ENOMEM, "serve %s", ipc_service(d->ipc)->dbus_path);
    if (!dbus_bus_register(d->conn, &e))
        return vmt_err_setx(err, ECONNREFUSED, "register at bus %s: %s", address,
                            e.message);
    r = bus_own_name(d, err);
    if (r < 0)
        return r;
    if (dbus_loop_attach(&d->drive, d->conn, d->loop) < 0)
        return vmt_err_set(err, ENOMEM, "watch the bus");
    d->up = true;
    return 0;
}

void
dbus_disconnect(struct dbus_ipc *d)
{
    d->up = false;
    dbus_loop_detach(&d->drive);
    if (d->pending) {
        dbus_pending_call_cancel(d->pending);
        dbus_pending_call_unref(vmt_take_ptr(&d->pending));
    }
    if (!d->conn)
        return;
    /* The last answers, as far as they can be written without waiting. */
    for (int i = 0; i < DBUS_LAST_WRITES && dbus_connection_has_messages_to_send(d->conn);
         i++)
        if (!dbus_connection_read_write(d->conn, 0))
            break;
    dbus_methods_cancel(d, NULL);
    dbus_callers_done(d);
    dbus_connection_remove_filter(d->conn, dbus_server_filter, d);
    (void)dbus_connection_unregister_object_path(d->conn, ipc_service(d->ipc)->dbus_path);
    dbus_connection_close(d->conn);
    dbus_connection_unref(vmt_take_ptr(&d->conn));
    d->lost = false;
}

void
dbus_reconnect(struct dbus_ipc *d)
{
    struct timeval wait = {.tv_sec = d->retry_ms / 1000,
                           .tv_usec = (suseconds_t)(d->retry_ms % 1000) * 1000};

    (void)event_add(d->retry, &wait);
    d->retry_ms =
        2 * d->retry_ms < DBUS_RETRY_MAX_MS ? 2 * d->retry_ms : DBUS_RETRY_MAX_MS;
}

/* Ask the bus driver for the next step; done gets the answer. Takes msg. */
static void
step_start(struct dbus_ipc *d, DBusMessage *msg, DBusPendingCallNotifyFunction done)
{
    bool sent = msg &&
                dbus_connection_send_with_reply(d->conn, msg, &d->pending,
                                                DBUS_STEP_TIMEOUT_MS) &&
                d->pending && dbus_pending_call_set_notify(d->pending, done, d, NULL);

    dbus_message_unrefp(&msg);
    if (!sent)
        dbus_server_lose(d);
}

/* The answer, if it is none of an error; else the attempt is over. */
static DBusMessage *
step_answer(struct dbus_ipc *d, DBusPendingCall *pending, const char *what)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *answer = dbus_pending_call_steal_reply(pending);

    dbus_pending_call_unref(vmt_take_ptr(&d->pending));
    if (answer && dbus_message_get_type(answer) == DBUS_MESSAGE_TYPE_METHOD_RETURN)
        return vmt_take_ptr(&answer);
    if (d->conn && dbus_connection_get_is_connected(d->conn))
        vmt_log_error("cannot serve on the bus again: %s failed: %s", what,
                      answer ? dbus_message_get_error_name(answer) : "no answer");
    dbus_server_lose(d);
    return NULL;
}

static DBusMessage *
driver_call(const char *method, const char *string)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *msg = dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS,
                                                    DBUS_INTERFACE_DBUS, method);

    if (msg && string &&
        !dbus_message_append_args(msg, DBUS_TYPE_STRING, &string, DBUS_TYPE_INVALID))
        return NULL;
    return vmt_take_ptr(&msg);
}

static void
on_name(DBusPendingCall *pending, void *arg)
{
    struct dbus_ipc *d = arg;
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *answer = step_answer(d, pending, "RequestName");
    dbus_uint32_t code = 0;

    if (!answer)
        return;
    (void)dbus_message_get_args(answer, NULL, DBUS_TYPE_UINT32, &code, DBUS_TYPE_INVALID);
    if (code != DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER) {
        vmt_log_error("cannot serve on the bus again: somebody else owns %s",
                      ipc_service(d->ipc)->dbus_name);
        dbus_server_lose(d);
        return;
    }
    vmt_log_notice("serving on the bus again");
    d->up = true;
    d->retry_ms = DBUS_RETRY_MIN_MS;
    if (d->on_back)
        d->on_back(d->arg);
}

static void
on_match(DBusPendingCall *pending, void *arg)
{
    struct dbus_ipc *d = arg;
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *answer = step_answer(d, pending, "AddMatch");
    dbus_uint32_t flags = DBUS_NAME_FLAG_DO_NOT_QUEUE;
    DBusMessage *msg;

    if (!answer)
        return;
    msg = driver_call("RequestName", ipc_service(d->ipc)->dbus_name);
    if (msg &&
        !dbus_message_append_args(msg, DBUS_TYPE_UINT32, &flags, DBUS_TYPE_INVALID))
        dbus_message_unref(vmt_take_ptr(&msg));
    step_start(d, msg, on_name);
}

static void
on_hello(DBusPendingCall *pending, void *arg)
{
    struct dbus_ipc *d = arg;
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *answer = step_answer(d, pending, "Hello");
    const char *name;

    if (!answer)
        return;
    if (!dbus_message_get_args(answer, NULL, DBUS_TYPE_STRING, &name,
                               DBUS_TYPE_INVALID) ||
        !dbus_bus_set_unique_name(d->conn, name)) {
        dbus_server_lose(d);
        return;
    }
    step_start(d, driver_call("AddMatch", DBUS_MATCH_VANISHED), on_match);
}

static void
retry_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct dbus_ipc *d = arg;

    (void)fd;
    (void)what;
    d->conn = dbus_connection_open_private(d->address, NULL);
    if (!d->conn) {
        dbus_reconnect(d); /* nobody there yet */
        return;
    }
    if (!bus_export(d) || dbus_loop_attach(&d->drive, d->conn, d->loop) < 0)
        dbus_server_lose(d);
    else
        step_start(d, driver_call("Hello", NULL), on_hello);
}
