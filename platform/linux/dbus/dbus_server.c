/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_server.c - the connection: start, signals, loss, end. */
#include "platform/linux/dbus/dbus_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/dbus/dbus_internal.h"
#include "platform/linux/os/loop.h"

#define DBUS_TEXT_MAX 512

/* More than any bus lets through by default (16), as many as the kernel passes at once:
 * libdbus gives the connection up when a message has more than it was told to expect, and
 * then any client could end the daemon. Source: SCM_MAX_FD, Linux include/net/scm.h. */
#define DBUS_MESSAGE_FDS_MAX 253

/* Rounds of writing at the end, none of which waits. */
#define DBUS_LAST_WRITES 64

/* Somebody leaves the bus. */
#define DBUS_MATCH_VANISHED                                                              \
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"          \
    "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''"

void
dbus_send(struct dbus_ipc *d, DBusMessage *msg)
{
    if (!msg)
        return;
    if (!d->lost && !dbus_connection_send(d->conn, msg, NULL))
        vmt_log_error("bus message lost: out of memory");
    dbus_message_unref(msg);
}

void
dbus_send_error(struct dbus_ipc *d, DBusMessage *msg, const char *name, const char *text)
{
    char escaped[DBUS_TEXT_MAX];

    if (dbus_message_get_no_reply(msg))
        return;
    /* libdbus aborts on a string that is not UTF-8. */
    if (!dbus_validate_utf8(text, NULL))
        text = vmt_log_escape(escaped, sizeof(escaped), text, strlen(text));
    dbus_send(d, dbus_message_new_error(msg, name, text));
}

static void
dbus_ipc_emit(struct ipc_server *server, const struct ipc_signal *signal,
              const uint8_t *bytes, size_t len)
{
    struct dbus_ipc *d = VMT_CONTAINER_OF(server, struct dbus_ipc, base);
    const struct ipc_service *service = ipc_service(d->ipc);
    DBusMessageIter it;
    DBusMessage *msg;

    if (d->lost)
        return;
    if (dbus_connection_get_outgoing_size(d->conn) > DBUS_OUTGOING_MAX) {
        vmt_log_warning("signal dropped, the bus does not read: signal=%s", signal->name);
        return;
    }
    msg = dbus_message_new_signal(service->dbus_path, service->dbus_name, signal->name);
    if (!msg)
        return;
    dbus_message_iter_init_append(msg, &it);
    if (dbus_append_bytes(&it, bytes, len))
        dbus_send(d, msg);
    else
        dbus_message_unref(msg);
}

static void
dbus_ipc_on_lost(evutil_socket_t fd, short what, void *arg)
{
    struct dbus_ipc *d = arg;

    (void)fd;
    (void)what;
    if (d->on_lost)
        d->on_lost(d->arg);
}

static DBusHandlerResult
dbus_ipc_filter(DBusConnection *conn, DBusMessage *msg, void *arg)
{
    static const struct timeval now = {0};
    struct dbus_ipc *d = arg;
    const char *name, *from, *to;

    (void)conn;
    if (dbus_message_is_signal(msg, DBUS_INTERFACE_LOCAL, "Disconnected")) {
        vmt_log_error("the connection to the bus is lost");
        d->lost = true;
        (void)event_add(d->lost_event, &now); /* not from inside libdbus */
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    if (dbus_message_is_signal(msg, DBUS_INTERFACE_DBUS, "NameOwnerChanged") &&
        dbus_message_has_sender(msg, DBUS_SERVICE_DBUS) &&
        dbus_message_get_args(msg, NULL, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &from,
                              DBUS_TYPE_STRING, &to, DBUS_TYPE_INVALID) &&
        to[0] == '\0')
        dbus_callers_forget(d, name);
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

static void
dbus_ipc_close(struct dbus_ipc *d)
{
    if (!d->conn)
        return;
    /* The last answers, as far as they can be written without waiting. */
    for (int i = 0; i < DBUS_LAST_WRITES && dbus_connection_has_messages_to_send(d->conn);
         i++)
        if (!dbus_connection_read_write(d->conn, 0))
            break;
    dbus_callers_done(d);
    dbus_connection_remove_filter(d->conn, dbus_ipc_filter, d);
    (void)dbus_connection_unregister_object_path(d->conn, ipc_service(d->ipc)->dbus_path);
    dbus_connection_close(d->conn);
}

static void
dbus_ipc_free(struct ipc_server *server)
{
    struct dbus_ipc *d = VMT_CONTAINER_OF(server, struct dbus_ipc, base);

    dbus_loop_detach(d);
    dbus_ipc_close(d);
    if (d->conn)
        dbus_connection_unref(d->conn);
    if (d->lost_event)
        event_free(d->lost_event);
    free(d);
}

static void
dbus_ipc_freep(struct dbus_ipc **d)
{
    if (*d)
        dbus_ipc_free(&(*d)->base);
}

static const struct ipc_server_ops dbus_ipc_ops = {
    .name = "dbus", .emit = dbus_ipc_emit, .free = dbus_ipc_free};

/* Connect and say hello. *ret_conn is private to us. */
static int
bus_connect(const char *address, DBusConnection **ret_conn, struct vmt_err *err)
{
    VMT_CLEANUP(dbus_error_free) DBusError e = DBUS_ERROR_INIT;
    DBusConnection *conn;

    if (strcmp(address, "system") == 0)
        conn = dbus_bus_get_private(DBUS_BUS_SYSTEM, &e);
    else if (strcmp(address, "session") == 0)
        conn = dbus_bus_get_private(DBUS_BUS_SESSION, &e);
    else
        conn = dbus_connection_open_private(address, &e);
    if (!conn)
        return vmt_err_setx(err, ECONNREFUSED, "connect to bus %s: %s", address,
                            e.message);
    dbus_connection_set_exit_on_disconnect(conn, FALSE);
    if (!dbus_bus_register(conn, &e)) { /* done already but for an address */
        dbus_connection_close(conn);
        dbus_connection_unref(conn);
        return vmt_err_setx(err, ECONNREFUSED, "register at bus %s: %s", address,
                            e.message);
    }
    *ret_conn = conn;
    return 0;
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

/* Serve the object. The name comes after it: whoever sees the name may call. */
static int
bus_export(struct dbus_ipc *d, struct vmt_err *err)
{
    static const DBusObjectPathVTable vtable = {.message_function =
                                                    dbus_methods_on_message};
    VMT_CLEANUP(dbus_error_free) DBusError e = DBUS_ERROR_INIT;
    const char *path = ipc_service(d->ipc)->dbus_path;

    dbus_connection_set_max_message_unix_fds(d->conn, DBUS_MESSAGE_FDS_MAX);
    if (!dbus_connection_add_filter(d->conn, dbus_ipc_filter, d, NULL))
        return vmt_err_set(err, ENOMEM, "serve %s", path);
    if (!dbus_connection_try_register_object_path(d->conn, path, &vtable, d, &e))
        return vmt_err_setx(err, ENOMEM, "serve %s: %s", path, e.message);
    return 0;
}

int
dbus_server_new(struct os_loop *loop, struct ipc *ipc,
                const struct dbus_server_config *config, struct ipc_server **ret_server,
                struct vmt_err *err)
{
    VMT_CLEANUP(dbus_ipc_freep) struct dbus_ipc *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return vmt_err_set(err, ENOMEM, "create bus server");
    d->base.ops = &dbus_ipc_ops;
    d->ipc = ipc;
    d->loop = os_loop_base(loop);
    d->on_lost = config->on_lost;
    d->arg = config->arg;
    vmt_list_init(&d->callers);
    d->lost_event = event_new(d->loop, -1, 0, dbus_ipc_on_lost, d);
    if (!d->lost_event)
        return vmt_err_set(err, ENOMEM, "create bus server");
    r = bus_connect(config->address, &d->conn, err);
    if (r < 0)
        return r;
    r = bus_export(d, err);
    if (r < 0)
        return r;
    r = bus_own_name(d, err);
    if (r < 0)
        return r;
    if (dbus_loop_attach(d) < 0)
        return vmt_err_set(err, ENOMEM, "watch the bus");
    *ret_server = &vmt_take_ptr(&d)->base;
    return 0;
}
