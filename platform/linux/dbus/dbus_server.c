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

void
dbus_send(struct dbus_ipc *d, DBusMessage *msg)
{
    if (!msg)
        return;
    if (d->conn && !d->lost && !dbus_connection_send(d->conn, msg, NULL))
        vmt_log_error("bus message lost: out of memory");
    dbus_message_unref(msg);
}

void
dbus_send_error(struct dbus_ipc *d, DBusMessage *msg, const char *name, const char *text)
{
    char escaped[DBUS_TEXT_MAX];

    if (!dbus_message_get_no_reply(msg))
        dbus_send(d, dbus_message_new_error(msg, name, dbus_text(text, escaped)));
}

/* Whether the bus has too much of ours to read. The first signal of a row and their
 * number are logged. */
static bool
signal_is_to_drop(struct dbus_ipc *d, const struct ipc_signal *signal)
{
    bool drop = dbus_connection_get_outgoing_size(d->conn) > DBUS_OUTGOING_MAX;

    if (drop && d->dropped++ == 0)
        vmt_log_warning("the bus does not read, signals are dropped: signal=%s",
                        signal->name);
    if (!drop && d->dropped > 0) {
        vmt_log_warning("the bus reads again: %zu signals were dropped", d->dropped);
        d->dropped = 0;
    }
    return drop;
}

static void
dbus_ipc_emit(struct ipc_server *server, const struct ipc_signal *signal,
              const uint8_t *bytes, size_t len)
{
    struct dbus_ipc *d = VMT_CONTAINER_OF(server, struct dbus_ipc, base);
    const struct ipc_service *service = ipc_service(d->ipc);
    DBusMessageIter it;
    DBusMessage *msg;

    if (!d->up)
        return;
    if (signal_is_to_drop(d, signal))
        return;
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
    bool was_up = d->up;

    (void)fd;
    (void)what;
    dbus_disconnect(d);
    if (was_up && d->on_lost)
        d->on_lost(d->arg);
    dbus_reconnect(d);
}

void
dbus_server_lose(struct dbus_ipc *d)
{
    static const struct timeval now = {0};

    d->lost = true;
    (void)event_add(d->lost_event, &now);
}

static void
on_vanished(struct dbus_ipc *d, const char *name)
{
    dbus_methods_cancel(d, name);
    dbus_callers_forget(d, name);
}

DBusHandlerResult
dbus_server_filter(DBusConnection *conn, DBusMessage *msg, void *arg)
{
    struct dbus_ipc *d = arg;
    const char *name, *from, *to;

    (void)conn;
    if (dbus_message_is_signal(msg, DBUS_INTERFACE_LOCAL, "Disconnected")) {
        if (d->up)
            vmt_log_error("the connection to the bus is lost");
        dbus_server_lose(d);
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    if (dbus_message_is_signal(msg, DBUS_INTERFACE_DBUS, "NameOwnerChanged") &&
        dbus_message_has_sender(msg, DBUS_SERVICE_DBUS) &&
        dbus_message_get_args(msg, NULL, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &from,
                              DBUS_TYPE_STRING, &to, DBUS_TYPE_INVALID) &&
        to[0] == '\0')
        on_vanished(d, name);
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

static void
dbus_ipc_free(struct ipc_server *server)
{
    struct dbus_ipc *d = VMT_CONTAINER_OF(server, struct dbus_ipc, base);

    dbus_disconnect(d);
    if (d->lost_event)
        event_free(d->lost_event);
    if (d->retry)
        event_free(d->retry);
    free(d->address);
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
    d->on_back = config->on_back;
    d->arg = config->arg;
    vmt_list_init(&d->callers);
    vmt_list_init(&d->calls);
    d->lost_event = event_new(d->loop, -1, 0, dbus_ipc_on_lost, d);
    if (!d->lost_event)
        return vmt_err_set(err, ENOMEM, "create bus server");
    r = dbus_connect(d, config->address, err);
    if (r < 0)
        return r;
    *ret_server = &vmt_take_ptr(&d)->base;
    return 0;
}
