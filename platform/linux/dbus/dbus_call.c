/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/dbus/dbus_call.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <dbus/dbus.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"

#define LIBRARY "libdbus-1.so.3" /* the only ABI that libdbus 1.x ever had */
#define TEXT_MAX 256

/* What we use of it: member and symbol. */
#define FUNCTIONS(X)                                                                     \
    X(error_init, dbus_error_init)                                                       \
    X(error_free, dbus_error_free)                                                       \
    X(open_private, dbus_connection_open_private)                                        \
    X(bus_register, dbus_bus_register)                                                   \
    X(set_exit, dbus_connection_set_exit_on_disconnect)                                  \
    X(close, dbus_connection_close)                                                      \
    X(connection_unref, dbus_connection_unref)                                           \
    X(new_call, dbus_message_new_method_call)                                            \
    X(append, dbus_message_append_args)                                                  \
    X(send, dbus_connection_send_with_reply_and_block)                                   \
    X(get, dbus_message_get_args)                                                        \
    X(message_unref, dbus_message_unref)

/* It stays loaded: what libdbus keeps for the next connection hangs on it. */
struct lib {
#define MEMBER(member, symbol) typeof(symbol) *(member);
    FUNCTIONS(MEMBER)
#undef MEMBER
};

static int
lib_load(struct lib *lib, struct vmt_err *err)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool whole = true;

    if (!handle)
        return vmt_err_setx(err, ENOTSUP, "%s", dlerror());
#define LOAD(member, symbol)                                                             \
    lib->member = (typeof(symbol) *)dlsym(handle, #symbol);                              \
    whole &= lib->member != NULL;
    FUNCTIONS(LOAD)
#undef LOAD
    return whole ? 0 : vmt_err_setx(err, ENOTSUP, LIBRARY " lacks what we use");
}

/* One call in progress. */
struct wire {
    struct lib lib;
    DBusConnection *conn;          /* owned */
    DBusMessage *request, *answer; /* owned */
    DBusError e;                   /* owned once lib is loaded */
};

static void
wire_done(struct wire *w)
{
    if (w->answer)
        w->lib.message_unref(w->answer);
    if (w->request)
        w->lib.message_unref(w->request);
    if (w->conn) {
        w->lib.close(w->conn);
        w->lib.connection_unref(w->conn);
    }
    if (w->lib.error_free)
        w->lib.error_free(&w->e);
}

static int
wire_open(struct wire *w, const char *bus, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *address = dbus_bus_address(bus);
    char safe[TEXT_MAX];
    int r;

    if (!address)
        return vmt_err_set(err, ENOMEM, "connect to bus %s", bus);
    r = lib_load(&w->lib, err);
    if (r < 0)
        return r;
    w->lib.error_init(&w->e);
    w->conn = w->lib.open_private(address, &w->e);
    if (w->conn) {
        w->lib.set_exit(w->conn, FALSE);
        if (w->lib.bus_register(w->conn, &w->e))
            return 0;
    }
    return vmt_err_setx(
        err, ECONNREFUSED, "connect to bus %s: %s", bus,
        vmt_log_escape(safe, sizeof(safe), w->e.message, strlen(w->e.message)));
}

/* Source: D-Bus specification 0.41 and the names of dbus-daemon's own errors. */
static int
wire_failed(const struct wire *w, const struct dbus_client_call *call,
            struct vmt_err *err)
{
    static const struct {
        const char *name;
        int error;
    } map[] = {
        {DBUS_ERROR_SERVICE_UNKNOWN, ENOENT}, {DBUS_ERROR_NAME_HAS_NO_OWNER, ENOENT},
        {DBUS_ERROR_ACCESS_DENIED, EACCES},   {DBUS_ERROR_NO_REPLY, ETIMEDOUT},
        {DBUS_ERROR_TIMEOUT, ETIMEDOUT},      {DBUS_ERROR_NO_MEMORY, ENOMEM},
    };
    char safe[TEXT_MAX];
    int error = EIO;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(map); i++)
        if (strcmp(w->e.name, map[i].name) == 0)
            error = map[i].error;
    return vmt_err_setx(
        err, error, "call %s of %s: %s", call->method, call->name,
        vmt_log_escape(safe, sizeof(safe), w->e.message, strlen(w->e.message)));
}

static int
wire_read(struct wire *w, const struct dbus_client_call *call, uint8_t **ret_reply,
          size_t *ret_len, struct vmt_err *err)
{
    const uint8_t *bytes;
    uint8_t *copy;
    int n;

    if (!w->lib.get(w->answer, &w->e, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE, &bytes, &n,
                    DBUS_TYPE_INVALID))
        return wire_failed(w, call, err);
    copy = malloc((size_t)n + 1);
    if (!copy)
        return vmt_err_set(err, ENOMEM, "call %s", call->method);
    if (n > 0)
        memcpy(copy, bytes, (size_t)n);
    *ret_reply = copy;
    *ret_len = (size_t)n;
    return 0;
}

int
dbus_call_wait(const struct dbus_client_call *call, uint8_t **ret_reply, size_t *ret_len,
               struct vmt_err *err)
{
    VMT_CLEANUP(wire_done) struct wire w = {.conn = NULL};
    const uint8_t *request = call->request ? call->request : (const uint8_t *)"";
    int r = wire_open(&w, call->bus, err);

    if (r < 0 || !w.conn)
        return r;
    w.request = w.lib.new_call(call->name, call->path, call->interface, call->method);
    if (!w.request || !w.lib.append(w.request, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE, &request,
                                    (int)call->len, DBUS_TYPE_INVALID))
        return vmt_err_set(err, ENOMEM, "call %s", call->method);
    w.answer = w.lib.send(w.conn, w.request, call->timeout_ms, &w.e);
    return w.answer ? wire_read(&w, call, ret_reply, ret_len, err)
                    : wire_failed(&w, call, err);
}
