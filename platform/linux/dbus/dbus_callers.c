/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_callers.c - which process is behind a unique name.
 *
 * The bus knows it and says it once per client; until it has, the client's calls wait, in
 * order. A unique name is never given to another client while the bus lives (D-Bus
 * specification, "Bus names"), so what the bus said stays true; it is forgotten when the
 * name vanishes, to keep the list short. */
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "platform/linux/dbus/dbus_internal.h"

#define DBUS_CALLER_TIMEOUT_MS 25000

struct dbus_waiting {
    struct vmt_list node;
    DBusMessage *msg; /* owned */
    size_t bytes;     /* of its request */
};

struct dbus_caller {
    struct vmt_list node;
    struct dbus_ipc *server; /* borrowed */
    char *name;              /* owned, ":1.42" */
    bool known;
    struct ipc_caller who;
    DBusPendingCall *pending; /* owned while the bus is asked */
    struct vmt_list waiting;
    size_t nwaiting;
};

/* Take the oldest message that waits; the caller owns it. NULL: none. */
static DBusMessage *
caller_take_waiting(struct dbus_caller *c)
{
    struct dbus_waiting *w;
    DBusMessage *msg;

    if (vmt_list_empty(&c->waiting))
        return NULL;
    w = VMT_CONTAINER_OF(c->waiting.next, struct dbus_waiting, node);
    msg = w->msg;
    vmt_list_remove(&w->node);
    c->nwaiting--;
    c->server->waiting_bytes -= w->bytes;
    c->server->waiting_with_fds -= dbus_message_contains_unix_fds(msg) ? 1 : 0;
    free(w);
    return msg;
}

static void
caller_free(struct dbus_caller *c)
{
    DBusMessage *msg;

    if (!c)
        return;
    vmt_list_remove(&c->node);
    if (c->pending) {
        dbus_pending_call_cancel(c->pending);
        dbus_pending_call_unref(c->pending);
    }
    while ((msg = caller_take_waiting(c)))
        dbus_message_unref(msg);
    free(c->name);
    free(c);
}

VMT_DEFINE_FREEP(struct dbus_caller, caller_free)

static struct dbus_caller *
caller_find(struct dbus_ipc *d, const char *name)
{
    VMT_LIST_FOREACH(node, next, &d->callers)
    {
        struct dbus_caller *c = VMT_CONTAINER_OF(node, struct dbus_caller, node);

        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

/* The number in the variant at it; UINT32_MAX when it is none. */
static uint32_t
variant_number(DBusMessageIter *it)
{
    DBusMessageIter value;
    dbus_uint32_t n = UINT32_MAX;

    if (dbus_message_iter_get_arg_type(it) != DBUS_TYPE_VARIANT)
        return n;
    dbus_message_iter_recurse(it, &value);
    if (dbus_message_iter_get_arg_type(&value) == DBUS_TYPE_UINT32)
        dbus_message_iter_get_basic(&value, &n);
    return n;
}

/* Read the a{sv} of GetConnectionCredentials; a bus need not know the process. Returns
 * false without a uid. Source: D-Bus specification 0.41,
 * "org.freedesktop.DBus.GetConnectionCredentials". */
static bool
credentials_read(DBusMessage *answer, struct ipc_caller *who)
{
    uint32_t uid = UINT32_MAX, pid = UINT32_MAX;
    DBusMessageIter it, dict, entry;

    if (!dbus_message_has_signature(answer, "a{sv}"))
        return false;
    (void)dbus_message_iter_init(answer, &it);
    dbus_message_iter_recurse(&it, &dict);
    for (; dbus_message_iter_get_arg_type(&dict) == DBUS_TYPE_DICT_ENTRY;
         (void)dbus_message_iter_next(&dict)) {
        const char *key;

        dbus_message_iter_recurse(&dict, &entry);
        dbus_message_iter_get_basic(&entry, &key);
        (void)dbus_message_iter_next(&entry);
        if (strcmp(key, "UnixUserID") == 0)
            uid = variant_number(&entry);
        else if (strcmp(key, "ProcessID") == 0)
            pid = variant_number(&entry);
    }
    who->uid = uid;
    who->pid = pid <= INT32_MAX ? (int32_t)pid : 0;
    return uid != UINT32_MAX;
}

/* The bus answered: serve what waited, or refuse it. */
static void
caller_on_answer(DBusPendingCall *pending, void *arg)
{
    struct dbus_caller *c = arg;
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *answer = dbus_pending_call_steal_reply(pending);
    DBusMessage *msg;

    dbus_pending_call_unref(c->pending);
    c->pending = NULL;
    c->known = answer &&
               dbus_message_get_type(answer) == DBUS_MESSAGE_TYPE_METHOD_RETURN &&
               credentials_read(answer, &c->who);
    while ((msg = caller_take_waiting(c))) {
        if (c->known)
            dbus_methods_dispatch(c->server, msg, &c->who);
        else
            dbus_send_error(c->server, msg, DBUS_ERROR_ACCESS_DENIED,
                            "the bus does not say who calls");
        dbus_message_unref(msg);
    }
    if (!c->known)
        caller_free(c); /* the next call asks again */
}

static bool
caller_ask(struct dbus_ipc *d, struct dbus_caller *c)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *ask =
        dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS,
                                     DBUS_INTERFACE_DBUS, "GetConnectionCredentials");

    if (!ask ||
        !dbus_message_append_args(ask, DBUS_TYPE_STRING, &c->name, DBUS_TYPE_INVALID))
        return false;
    if (!dbus_connection_send_with_reply(d->conn, ask, &c->pending,
                                         DBUS_CALLER_TIMEOUT_MS) ||
        !c->pending)
        return false;
    return dbus_pending_call_set_notify(c->pending, caller_on_answer, c, NULL);
}

/* Begin to find out who name is. NULL: no memory, or the connection is lost. */
static struct dbus_caller *
caller_new(struct dbus_ipc *d, const char *name)
{
    VMT_CLEANUP(caller_freep) struct dbus_caller *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    vmt_list_init(&c->waiting);
    c->server = d;
    c->name = strdup(name);
    if (!c->name || !caller_ask(d, c))
        return NULL;
    vmt_list_append(&d->callers, &c->node);
    return vmt_take_ptr(&c);
}

static void
caller_wait(struct dbus_ipc *d, struct dbus_caller *c, DBusMessage *msg)
{
    bool has_fds = dbus_message_contains_unix_fds(msg);
    size_t bytes = dbus_methods_size(msg);
    struct dbus_waiting *w;

    if (c->nwaiting >= DBUS_CALLER_WAITING_MAX ||
        d->waiting_bytes + bytes > DBUS_WAITING_BYTES_MAX ||
        d->waiting_with_fds + has_fds > DBUS_WAITING_WITH_FDS_MAX) {
        dbus_send_error(d, msg, DBUS_ERROR_LIMITS_EXCEEDED, "too many calls at once");
        return;
    }
    w = calloc(1, sizeof(*w));
    if (!w) {
        dbus_send_error(d, msg, DBUS_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    w->msg = dbus_message_ref(msg);
    w->bytes = bytes;
    vmt_list_append(&c->waiting, &w->node);
    c->nwaiting++;
    d->waiting_bytes += bytes;
    d->waiting_with_fds += has_fds;
}

void
dbus_callers_resolve(struct dbus_ipc *d, DBusMessage *msg)
{
    const char *sender = dbus_message_get_sender(msg);
    struct dbus_caller *c = sender ? caller_find(d, sender) : NULL;

    if (c && c->known) {
        dbus_methods_dispatch(d, msg, &c->who);
        return;
    }
    if (!c && sender)
        c = caller_new(d, sender);
    if (!c) {
        dbus_send_error(d, msg, DBUS_ERROR_ACCESS_DENIED,
                        "the bus cannot be asked who calls");
        return;
    }
    caller_wait(d, c, msg);
}

void
dbus_callers_forget(struct dbus_ipc *d, const char *name)
{
    caller_free(caller_find(d, name));
}

void
dbus_callers_done(struct dbus_ipc *d)
{
    VMT_LIST_FOREACH(node, next, &d->callers)
    {
        caller_free(VMT_CONTAINER_OF(node, struct dbus_caller, node));
    }
}
