/* SPDX-License-Identifier: BSD-3-Clause */
#include <dbus/dbus.h>
#include <protobuf-c/protobuf-c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/contract/ipc/client.h"
#include "tests/contract/ipc/echo.h"
#include "tests/unit/test.h"

struct client_dbus {
    struct client base;
    DBusConnection *conn;
    bool lost;
    struct signals_seen *seen;
};

/* What an answer needs beside itself. */
struct pending {
    struct answer *answer;
    const struct ProtobufCMessageDescriptor *reply;
};

static struct client_dbus *
dbus_of(const struct client *c)
{
    return VMT_CONTAINER_OF((struct client *)(uintptr_t)c, struct client_dbus, base);
}

static enum ipc_error
error_of(const char *name)
{
    static const char *const names[] = {
        [IPC_ERROR_FAILED] = "Failed",
        [IPC_ERROR_INVALID_ARGS] = "InvalidArgs",
        [IPC_ERROR_ACCESS_DENIED] = "AccessDenied",
        [IPC_ERROR_UNKNOWN_METHOD] = "UnknownMethod",
        [IPC_ERROR_NO_MEMORY] = "NoMemory",
    };
    static const char prefix[] = "org.freedesktop.DBus.Error.";

    for (unsigned i = 1; i < VMT_ARRAY_SIZE(names); i++)
        if (strncmp(name, prefix, sizeof(prefix) - 1) == 0 &&
            strcmp(name + sizeof(prefix) - 1, names[i]) == 0)
            return (enum ipc_error)i;
    return 0;
}

static void
on_rose(struct client_dbus *c, DBusMessage *msg)
{
    DBusMessageIter it, sub;
    const uint8_t *bytes;
    int len;

    assert_string_equal(dbus_message_get_signature(msg), "ay");
    assert_string_equal(dbus_message_get_path(msg), echo_service.dbus_path);
    (void)dbus_message_iter_init(msg, &it);
    dbus_message_iter_recurse(&it, &sub);
    dbus_message_iter_get_fixed_array(&sub, &bytes, &len);
    c->seen->count++;
    c->seen->len = (size_t)len;
    if (len && (size_t)len <= sizeof(c->seen->bytes))
        memcpy(c->seen->bytes, bytes, (size_t)len);
}

static DBusHandlerResult
filter(DBusConnection *conn, DBusMessage *msg, void *arg)
{
    struct client_dbus *c = arg;

    (void)conn;
    if (dbus_message_is_signal(msg, DBUS_INTERFACE_LOCAL, "Disconnected") ||
        (dbus_message_is_signal(msg, DBUS_INTERFACE_DBUS, "NameOwnerChanged")))
        c->lost = true;
    if (c->seen && dbus_message_is_signal(msg, echo_service.dbus_name, "Rose"))
        on_rose(c, msg);
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

static struct client *
client_dbus_connect(const char *address)
{
    struct client_dbus *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    c->base.ops = &client_dbus_ops;
    c->conn = dbus_connection_open_private(address, NULL);
    if (!c->conn) {
        free(c);
        return NULL;
    }
    dbus_connection_set_exit_on_disconnect(c->conn, FALSE);
    assert_true(dbus_bus_register(c->conn, NULL));
    assert_true(dbus_connection_add_filter(c->conn, filter, c, NULL));
    dbus_bus_add_match(c->conn,
                       "type='signal',member='NameOwnerChanged',arg0='org.vmt.test.Echo'",
                       NULL);
    return &c->base;
}

static void
take_reply(struct pending *p, DBusMessage *msg)
{
    struct answer *a = p->answer;
    DBusMessageIter it, sub;
    const uint8_t *bytes;
    int len;

    (void)dbus_message_iter_init(msg, &it);
    if (p->reply) {
        assert_int_equal(dbus_message_iter_get_arg_type(&it), DBUS_TYPE_ARRAY);
        dbus_message_iter_recurse(&it, &sub);
        dbus_message_iter_get_fixed_array(&sub, &bytes, &len);
        a->message = protobuf_c_message_unpack(p->reply, NULL, (size_t)len, bytes);
        assert_non_null(a->message);
        (void)dbus_message_iter_next(&it);
    }
    if (dbus_message_iter_get_arg_type(&it) != DBUS_TYPE_ARRAY) {
        assert_int_equal(dbus_message_iter_get_arg_type(&it), DBUS_TYPE_INVALID);
        return;
    }
    dbus_message_iter_recurse(&it, &sub);
    while (dbus_message_iter_get_arg_type(&sub) == DBUS_TYPE_UNIX_FD) {
        assert_true(a->nfds < VMT_FDS_MAX);
        dbus_message_iter_get_basic(&sub, &a->fds[a->nfds++]);
        (void)dbus_message_iter_next(&sub);
    }
}

static void
on_reply(DBusPendingCall *pending, void *arg)
{
    struct pending *p = arg;
    struct answer *a = p->answer;
    DBusMessage *msg = dbus_pending_call_steal_reply(pending);

    assert_false(a->done);
    a->done = true;
    a->ok = dbus_message_get_type(msg) == DBUS_MESSAGE_TYPE_METHOD_RETURN;
    if (a->ok) {
        take_reply(p, msg);
    } else {
        const char *text = "";

        a->code = error_of(dbus_message_get_error_name(msg));
        (void)dbus_message_get_args(msg, NULL, DBUS_TYPE_STRING, &text,
                                    DBUS_TYPE_INVALID);
        (void)snprintf(a->text, sizeof(a->text), "%s", text);
    }
    dbus_message_unref(msg);
}

static void
append_request(DBusMessageIter *it, const struct call_spec *spec)
{
    size_t len = spec->message ? protobuf_c_message_get_packed_size(spec->message) : 0;
    uint8_t *packed = malloc(len + 1);
    const uint8_t *bytes = spec->message ? packed : spec->bytes;
    DBusMessageIter sub;

    assert_non_null(packed);
    if (spec->message)
        (void)protobuf_c_message_pack(spec->message, packed);
    else
        len = spec->len;
    if (spec->message || spec->bytes) {
        assert_true(dbus_message_iter_open_container(it, DBUS_TYPE_ARRAY, "y", &sub));
        assert_true(
            dbus_message_iter_append_fixed_array(&sub, DBUS_TYPE_BYTE, &bytes, (int)len));
        assert_true(dbus_message_iter_close_container(it, &sub));
    }
    free(packed);
}

static void
client_dbus_start(struct client *client, const struct call_spec *spec, struct answer *a)
{
    struct client_dbus *c = dbus_of(client);
    DBusMessage *msg =
        dbus_message_new_method_call(echo_service.dbus_name, echo_service.dbus_path,
                                     echo_service.dbus_name, spec->method);
    struct pending *p = calloc(1, sizeof(*p));
    DBusPendingCall *pending = NULL;
    DBusMessageIter it, sub;

    assert_true(msg && p);
    p->answer = a;
    p->reply = spec->reply;
    memset(a, 0, sizeof(*a));
    dbus_message_iter_init_append(msg, &it);
    append_request(&it, spec);
    if (spec->fds_shape && strcmp(spec->fds_shape, "ah") == 0)
        assert_true(dbus_message_iter_open_container(&it, DBUS_TYPE_ARRAY, "h", &sub));
    else
        sub = it;
    for (size_t i = 0; i < spec->nfds; i++)
        assert_true(
            dbus_message_iter_append_basic(&sub, DBUS_TYPE_UNIX_FD, &spec->fds[i]));
    if (spec->fds_shape && strcmp(spec->fds_shape, "ah") == 0)
        assert_true(dbus_message_iter_close_container(&it, &sub));
    assert_true(
        dbus_connection_send_with_reply(c->conn, msg, &pending, DBUS_TIMEOUT_INFINITE));
    assert_true(pending && dbus_pending_call_set_notify(pending, on_reply, p, free));
    dbus_pending_call_unref(pending);
    dbus_message_unref(msg);
}

static void
client_dbus_subscribe(struct client *client, struct signals_seen *seen)
{
    struct client_dbus *c = dbus_of(client);
    DBusError e = DBUS_ERROR_INIT;

    c->seen = seen;
    dbus_bus_add_match(c->conn, "type='signal',interface='org.vmt.test.Echo'", &e);
    assert_false(dbus_error_is_set(&e));
    seen->ready = true;
}

static void
client_dbus_turn(struct client *client)
{
    struct client_dbus *c = dbus_of(client);

    (void)dbus_connection_read_write_dispatch(c->conn, 50);
}

static bool
client_dbus_lost(const struct client *client)
{
    return dbus_of(client)->lost;
}

static bool
client_dbus_served(const struct client *client)
{
    return dbus_bus_name_has_owner(dbus_of(client)->conn, echo_service.dbus_name, NULL);
}

static void
client_dbus_close(struct client *client)
{
    struct client_dbus *c = dbus_of(client);

    dbus_connection_remove_filter(c->conn, filter, c);
    dbus_connection_close(c->conn);
    while (dbus_connection_dispatch(c->conn) == DBUS_DISPATCH_DATA_REMAINS)
        ; /* calls without an answer fail now, and let go of the connection */
    dbus_connection_unref(c->conn);
    free(c);
}

const struct client_ops client_dbus_ops = {
    .name = "dbus",
    .connect = client_dbus_connect,
    .start = client_dbus_start,
    .subscribe = client_dbus_subscribe,
    .turn = client_dbus_turn,
    .lost = client_dbus_lost,
    .served = client_dbus_served,
    .close = client_dbus_close,
};
