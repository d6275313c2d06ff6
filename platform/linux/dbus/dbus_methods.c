/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_methods.c - calls between the bus and ipc. */
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "platform/linux/dbus/dbus_internal.h"

/* The backend's name for a call that ipc dispatches. It does not keep the request:
 * libdbus reads no further while the messages that somebody holds are too many. */
struct dbus_call {
    struct vmt_list node;
    struct dbus_ipc *server; /* borrowed; ipc answers all calls before it frees servers */
    DBusMessage *reply;      /* owned, still empty; taken to be sent */
    bool silent;             /* the client wants no answer */
    const struct ipc_method *method;
};

static const char *const dbus_error_names[] = {
    [IPC_ERROR_FAILED] = DBUS_ERROR_FAILED,
    [IPC_ERROR_INVALID_ARGS] = DBUS_ERROR_INVALID_ARGS,
    [IPC_ERROR_ACCESS_DENIED] = DBUS_ERROR_ACCESS_DENIED,
    [IPC_ERROR_UNKNOWN_METHOD] = DBUS_ERROR_UNKNOWN_METHOD,
    [IPC_ERROR_NO_MEMORY] = DBUS_ERROR_NO_MEMORY,
};

static void
call_free(struct dbus_call *c)
{
    if (!c)
        return;
    vmt_list_remove(&c->node);
    if (c->reply)
        dbus_message_unref(c->reply);
    free(c);
}

VMT_DEFINE_FREEP(struct dbus_call, call_free)

bool
dbus_append_bytes(DBusMessageIter *it, const uint8_t *bytes, size_t len)
{
    DBusMessageIter sub;

    /* libdbus takes an oversize array for a bug of ours and says so on stderr. */
    if (len > DBUS_MAXIMUM_ARRAY_LENGTH)
        return false;
    if (!dbus_message_iter_open_container(it, DBUS_TYPE_ARRAY, DBUS_TYPE_BYTE_AS_STRING,
                                          &sub))
        return false;
    if (len &&
        !dbus_message_iter_append_fixed_array(&sub, DBUS_TYPE_BYTE, &bytes, (int)len)) {
        dbus_message_iter_abandon_container(it, &sub);
        return false;
    }
    return dbus_message_iter_close_container(it, &sub);
}

static bool
append_fd_array(DBusMessageIter *it, const int *fds, size_t nfds)
{
    DBusMessageIter sub;

    if (!dbus_message_iter_open_container(it, DBUS_TYPE_ARRAY,
                                          DBUS_TYPE_UNIX_FD_AS_STRING, &sub))
        return false;
    for (size_t i = 0; i < nfds; i++) {
        if (!dbus_message_iter_append_basic(&sub, DBUS_TYPE_UNIX_FD, &fds[i])) {
            dbus_message_iter_abandon_container(it, &sub);
            return false;
        }
    }
    return dbus_message_iter_close_container(it, &sub);
}

static bool
append_fds(DBusMessageIter *it, enum ipc_fds shape, const int *fds, size_t nfds)
{
    if (shape == IPC_FDS_NONE)
        return true;
    if (shape == IPC_FDS_ONE)
        return dbus_message_iter_append_basic(it, DBUS_TYPE_UNIX_FD, &fds[0]);
    return append_fd_array(it, fds, nfds);
}

/* The error to answer with instead of c's reply; NULL: no memory. */
static DBusMessage *
call_error(const struct dbus_call *c, const char *name, const char *text)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *error = dbus_message_new(DBUS_MESSAGE_TYPE_ERROR);
    char escaped[DBUS_TEXT_MAX];

    text = dbus_text(text, escaped);
    if (!error || !dbus_message_set_error_name(error, name) ||
        !dbus_message_set_destination(error, dbus_message_get_destination(c->reply)) ||
        !dbus_message_set_reply_serial(error, dbus_message_get_reply_serial(c->reply)) ||
        !dbus_message_append_args(error, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID))
        return NULL;
    dbus_message_set_no_reply(error, TRUE);
    return vmt_take_ptr(&error);
}

static void
call_send_error(const struct dbus_call *c, const char *name, const char *text)
{
    if (!c->silent)
        dbus_send(c->server, call_error(c, name, text));
}

static void
answer_reply(void *token, const uint8_t *bytes, size_t len, const int *fds, size_t nfds)
{
    VMT_CLEANUP(call_freep) struct dbus_call *c = token;
    DBusMessageIter it;

    if (c->silent)
        return;
    dbus_message_iter_init_append(c->reply, &it);
    if ((bytes && !dbus_append_bytes(&it, bytes, len)) ||
        !append_fds(&it, c->method->fds_out, fds, nfds))
        call_send_error(c, DBUS_ERROR_NO_MEMORY, "the reply does not fit into a message");
    else
        dbus_send(c->server, vmt_take_ptr(&c->reply));
}

static void
answer_fail(void *token, enum ipc_error code, const char *text)
{
    VMT_CLEANUP(call_freep) struct dbus_call *c = token;

    call_send_error(c, dbus_error_names[code], text);
}

static const struct ipc_answer_ops dbus_answer_ops = {.reply = answer_reply,
                                                      .fail = answer_fail};

/* Whether the arguments of msg are those that the table says. */
static bool
signature_fits(const struct ipc_method *m, const char *signature)
{
    static const char *const shapes[] = {[IPC_FDS_NONE] = "",
                                         [IPC_FDS_ONE] = DBUS_TYPE_UNIX_FD_AS_STRING,
                                         [IPC_FDS_ARRAY] = "ah",
                                         [IPC_FDS_ARRAY_OPTIONAL] = "ah"};

    if (m->request) {
        if (strncmp(signature, "ay", 2) != 0)
            return false;
        signature += 2;
    }
    if (m->fds_in == IPC_FDS_ARRAY_OPTIONAL && signature[0] == '\0')
        return true;
    return strcmp(signature, shapes[m->fds_in]) == 0;
}

static bool
fds_complete(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] < 0)
            return false;
    return true;
}

/* Duplicate the descriptors at it, an "h" or "ah", or nothing. The same index may stand
 * in the array many times, so that the message's own count is no limit: one above the
 * limit is enough for ipc to refuse them all. */
static size_t
take_fds(DBusMessageIter *it, int fds[static VMT_FDS_MAX + 1])
{
    DBusMessageIter sub;
    size_t n = 0;

    if (dbus_message_iter_get_arg_type(it) == DBUS_TYPE_ARRAY) {
        dbus_message_iter_recurse(it, &sub);
        it = &sub;
    }
    while (dbus_message_iter_get_arg_type(it) == DBUS_TYPE_UNIX_FD &&
           n < VMT_FDS_MAX + 1) {
        int fd = -1;

        dbus_message_iter_get_basic(it, &fd); /* a new descriptor; -1: none left */
        fds[n++] = fd;
        (void)dbus_message_iter_next(it);
    }
    return n;
}

/* Take the "ay" at it and step over it. Returns false when there is none. */
static bool
take_bytes(DBusMessageIter *it, const uint8_t **ret_bytes, size_t *ret_len)
{
    DBusMessageIter sub;
    int n = 0;

    if (dbus_message_iter_get_arg_type(it) != DBUS_TYPE_ARRAY)
        return false;
    dbus_message_iter_recurse(it, &sub);
    dbus_message_iter_get_fixed_array(&sub, ret_bytes, &n);
    *ret_len = (size_t)n;
    (void)dbus_message_iter_next(it);
    return true;
}

size_t
dbus_methods_size(DBusMessage *msg)
{
    const uint8_t *bytes;
    DBusMessageIter it;
    size_t len = 0;

    if (strncmp(dbus_message_get_signature(msg), "ay", 2) == 0 &&
        dbus_message_iter_init(msg, &it))
        (void)take_bytes(&it, &bytes, &len);
    return len;
}

static void
call_refuse(struct dbus_call *c, const struct ipc_incoming *in, const char *text)
{
    ipc_log_bad(c->server->ipc, in, text);
    answer_fail(c, IPC_ERROR_INVALID_ARGS, text);
}

static void
call_dispatch(struct dbus_call *c, DBusMessage *msg, const struct ipc_caller *caller)
{
    int fds[VMT_FDS_MAX + 1];
    struct ipc_incoming in = {
        .method = c->method, .caller = *caller, .fds = fds, .token = c};
    DBusMessageIter it;

    if (!signature_fits(c->method, dbus_message_get_signature(msg))) {
        call_refuse(c, &in, "the arguments have another signature, see Introspect");
        return;
    }
    (void)dbus_message_iter_init(msg, &it);
    if (c->method->request)
        (void)take_bytes(&it, &in.bytes, &in.len);
    if (in.len > (size_t)VMT_RPC_MESSAGE_MAX) {
        call_refuse(c, &in, "the request is too large");
        return;
    }
    in.nfds = take_fds(&it, fds);
    if (!fds_complete(fds, in.nfds)) {
        for (size_t i = 0; i < in.nfds; i++)
            vmt_closep(&fds[i]);
        answer_fail(c, IPC_ERROR_NO_MEMORY, "the daemon has no descriptor left");
        return;
    }
    ipc_dispatch(c->server->ipc, &in, &dbus_answer_ops);
}

void
dbus_methods_dispatch(struct dbus_ipc *d, DBusMessage *msg,
                      const struct ipc_caller *caller)
{
    const struct ipc_method *m = ipc_find_method(d->ipc, dbus_message_get_member(msg));
    VMT_CLEANUP(call_freep) struct dbus_call *c = calloc(1, sizeof(*c));

    if (c)
        c->reply = dbus_message_new_method_return(msg);
    if (!c || !c->reply) {
        dbus_send_error(d, msg, DBUS_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    c->server = d;
    c->silent = dbus_message_get_no_reply(msg);
    c->method = m;
    vmt_list_append(&d->calls, &c->node);
    call_dispatch(vmt_take_ptr(&c), msg, caller);
}

void
dbus_methods_cancel(struct dbus_ipc *d, const char *name)
{
    VMT_LIST_FOREACH(node, next, &d->calls)
    {
        struct dbus_call *c = VMT_CONTAINER_OF(node, struct dbus_call, node);

        if (name && !dbus_message_has_destination(c->reply, name))
            continue;
        ipc_cancel(d->ipc, c);
        call_free(c);
    }
}

/* The head of a call whose signature fits no method, with a signature that fits none
 * either: the call may have to wait for its caller's name in the log, and its arguments,
 * of any size and shape, shall not wait with it. NULL: no memory. */
static DBusMessage *
bare_new(DBusMessage *msg)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *bare = dbus_message_new_method_call(NULL, dbus_message_get_path(msg),
                                                     dbus_message_get_interface(msg),
                                                     dbus_message_get_member(msg));
    const uint8_t none = 0;

    if (!bare || !dbus_message_set_sender(bare, dbus_message_get_sender(msg)) ||
        !dbus_message_append_args(bare, DBUS_TYPE_BYTE, &none, DBUS_TYPE_INVALID))
        return NULL;
    dbus_message_set_serial(bare, dbus_message_get_serial(msg));
    dbus_message_set_no_reply(bare, dbus_message_get_no_reply(msg));
    return vmt_take_ptr(&bare);
}

static void
resolve_bare(struct dbus_ipc *d, DBusMessage *msg)
{
    VMT_CLEANUP(dbus_message_unrefp) DBusMessage *bare = bare_new(msg);

    if (bare)
        dbus_callers_resolve(d, bare);
    else
        dbus_send_error(d, msg, DBUS_ERROR_NO_MEMORY, "out of memory");
}

DBusHandlerResult
dbus_methods_on_message(DBusConnection *conn, DBusMessage *msg, void *arg)
{
    struct dbus_ipc *d = arg;
    const char *interface = dbus_message_get_interface(msg);
    const struct ipc_method *m;

    (void)conn;
    if (dbus_message_get_type(msg) != DBUS_MESSAGE_TYPE_METHOD_CALL)
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    if (interface && strcmp(interface, ipc_service(d->ipc)->dbus_name) != 0)
        return dbus_standard_on_message(d, msg);
    m = ipc_find_method(d->ipc, dbus_message_get_member(msg));
    if (!m) /* libdbus answers UnknownMethod */
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    if (signature_fits(m, dbus_message_get_signature(msg)))
        dbus_callers_resolve(d, msg);
    else
        resolve_bare(d, msg);
    return DBUS_HANDLER_RESULT_HANDLED;
}
