/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_internal.h - what the files of this room share. */
#pragma once

#include <dbus/dbus.h>

#include "core/base/list.h"
#include "core/ipc/ipc.h"
#include "platform/linux/dbus/dbus_call.h"
#include "platform/linux/dbus/dbus_server.h"

struct event;
struct event_base;

/* Bytes of messages in our hands above which libdbus stops reading. */
#define DBUS_INCOMING_MAX (32L * 1024 * 1024)

/* Calls of one client that wait for the bus to say whose they are; a client that sends
 * more in that short time is told so. Bytes and descriptors are those of all clients: the
 * bus's answer stands behind what else it has for us, so they must leave room for it. */
#define DBUS_CALLER_WAITING_MAX 512
#define DBUS_WAITING_BYTES_MAX (16u * 1024 * 1024)
#define DBUS_WAITING_WITH_FDS_MAX 64

/* Bytes that wait for the bus to read them. Above the first no further calls are taken,
 * whose answers would be more of them; above the second signals are dropped. */
#define DBUS_OUTGOING_PAUSE (8L * 1024 * 1024)
#define DBUS_OUTGOING_MAX (16L * 1024 * 1024)

/* Of the words of an error that are not UTF-8. */
#define DBUS_TEXT_MAX 512

/* What drives a connection; all zeroes: nothing. */
struct dbus_loop {
    DBusConnection *conn;    /* borrowed while attached, else NULL */
    struct event_base *base; /* borrowed */
    struct event *dispatch;  /* owned; messages are waiting to be dispatched */
};

struct dbus_ipc {
    struct ipc_server base;
    struct ipc *ipc;         /* borrowed */
    DBusConnection *conn;    /* owned */
    struct event_base *loop; /* borrowed */
    struct dbus_loop drive;
    struct event *lost_event; /* owned */
    struct event *retry;      /* owned */
    char *address;            /* owned */
    unsigned retry_ms;        /* the wait before the next attempt to connect */
    DBusPendingCall *pending; /* owned; a step of connecting again */
    bool up;                  /* the name is ours */
    struct vmt_list callers;
    struct vmt_list calls;                  /* that ipc has and has not answered */
    size_t waiting_bytes, waiting_with_fds; /* of calls of unknown callers */
    size_t dropped;                         /* signals in a row */
    bool lost;
    void (*on_lost)(void *arg);
    void (*on_back)(void *arg);
    void *arg; /* borrowed */
};

/* Connect for the first time, and wait for that: -ECONNREFUSED, -EBUSY, -ENOMEM. */
int dbus_connect(struct dbus_ipc *d, const char *address, struct vmt_err *err);
/* The connection broke, or what would have made it one did: begin anew. Not from inside
 * libdbus. */
void dbus_reconnect(struct dbus_ipc *d);
/* Drop the connection and everything that hangs on it. */
void dbus_disconnect(struct dbus_ipc *d);
/* The filter of every connection. */
DBusHandlerResult dbus_server_filter(DBusConnection *conn, DBusMessage *msg, void *arg);
/* Let go of the connection as soon as libdbus is not on the stack. */
void dbus_server_lose(struct dbus_ipc *d);

/* Let base drive conn, or stop that. Returns 0 or -ENOMEM; then detach, too. */
int dbus_loop_attach(struct dbus_loop *drive, DBusConnection *conn,
                     struct event_base *base);
void dbus_loop_detach(struct dbus_loop *drive);

/* The message function of our object. */
DBusHandlerResult dbus_methods_on_message(DBusConnection *conn, DBusMessage *msg,
                                          void *arg);
/* Hand a call of our interface, whose caller is known, to ipc. */
void dbus_methods_dispatch(struct dbus_ipc *d, DBusMessage *msg,
                           const struct ipc_caller *caller);
/* The client of that unique name is gone, or with NULL all are: nobody wants the answers
 * to its calls. */
void dbus_methods_cancel(struct dbus_ipc *d, const char *name);
/* Introspectable and Properties. */
DBusHandlerResult dbus_standard_on_message(struct dbus_ipc *d, DBusMessage *msg);

/* Find out who sent msg, then dispatch it. */
void dbus_callers_resolve(struct dbus_ipc *d, DBusMessage *msg);
/* A unique name vanished from the bus. */
void dbus_callers_forget(struct dbus_ipc *d, const char *name);
void dbus_callers_done(struct dbus_ipc *d);

/* Send and drop msg, NULL counts as no memory: then nothing is sent and the client runs
 * into its own deadline. */
void dbus_send(struct dbus_ipc *d, DBusMessage *msg);
/* Answer msg with an error, unless it wants no answer. text may be any bytes. */
void dbus_send_error(struct dbus_ipc *d, DBusMessage *msg, const char *name,
                     const char *text);
/* text if a bus can carry it, else its escaped form in buf. */
const char *dbus_text(const char *text, char buf[static DBUS_TEXT_MAX]);
/* For VMT_CLEANUP. */
void dbus_message_unrefp(DBusMessage **msg);
/* Length of the request in msg. */
size_t dbus_methods_size(DBusMessage *msg);
/* Append bytes as "ay". */
bool dbus_append_bytes(DBusMessageIter *it, const uint8_t *bytes, size_t len);
