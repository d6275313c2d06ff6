/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_internal.h - what the files of this room share. */
#pragma once

#include <dbus/dbus.h>

#include "core/base/list.h"
#include "core/ipc/ipc.h"
#include "platform/linux/dbus/dbus_server.h"

struct event;
struct event_base;

/* Calls of one client that wait for the bus to say whose they are; a client that sends
 * more in that short time is told so. */
#define DBUS_CALLER_WAITING_MAX 512

/* Bytes that wait for the bus to read them, above which signals are dropped. */
#define DBUS_OUTGOING_MAX (16L * 1024 * 1024)

struct dbus_ipc {
    struct ipc_server base;
    struct ipc *ipc;          /* borrowed */
    DBusConnection *conn;     /* owned */
    struct event_base *loop;  /* borrowed */
    struct event *dispatch;   /* owned; messages are waiting to be dispatched */
    struct event *lost_event; /* owned */
    struct vmt_list callers;
    bool lost;
    void (*on_lost)(void *arg);
    void *arg; /* borrowed */
};

/* Let the loop drive the connection, or stop that. Returns 0 or -ENOMEM. */
int dbus_loop_attach(struct dbus_ipc *d);
void dbus_loop_detach(struct dbus_ipc *d);

/* The message function of our object. */
DBusHandlerResult dbus_methods_on_message(DBusConnection *conn, DBusMessage *msg,
                                          void *arg);
/* Hand a call of our interface, whose caller is known, to ipc. */
void dbus_methods_dispatch(struct dbus_ipc *d, DBusMessage *msg, uint32_t uid);
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
/* Append bytes as "ay". */
bool dbus_append_bytes(DBusMessageIter *it, const uint8_t *bytes, size_t len);
