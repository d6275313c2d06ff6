/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_internal.h - what the files of the server share. */
#pragma once

#include "core/base/list.h"
#include "core/rpc/server.h"
#include "platform/linux/unix_ipc/unix_server.h"

struct os_listener;
struct stream;

/* Bytes that a subscriber may leave unread. Signals are some hundred bytes each, so that
 * this is thousands of them: whoever is that far behind has stopped reading. */
#define UNIX_SIGNAL_QUEUE_MAX (1024u * 1024)

/* Subscriptions per daemon; each costs some hundred bytes. */
#define UNIX_SUBSCRIBERS_MAX 1024u

/* A uid other than root and the daemon's own gets this part of the connections, so that
 * no user can lock the others out of a system daemon. */
#define UNIX_CONNECTIONS_SHARE 4u

struct unix_server {
    struct ipc_server base;
    struct ipc *ipc;                   /* borrowed */
    struct rpc_server *rpc;            /* owned */
    struct os_listener *listener;      /* owned */
    struct rpc_server_method *methods; /* owned: methods, signals, SubscribeSignals */
    struct rpc_server_service service;
    struct vmt_list subscribers;
    size_t nsubscribers;
    struct vmt_list conns; /* open connections */
    size_t clients;        /* how many */
    size_t connections_max;
    void (*on_clients)(void *arg, size_t clients);
    void *arg; /* borrowed */
};

/* Tell who wants to know that the number of clients changed by one. */
void unix_server_count(struct unix_server *s, int change);

/* A stream that passes everything on to inner and counts as a client of s, with the uid,
 * while it is open. NULL: no memory, inner is untouched. */
struct stream *unix_conn_new(struct unix_server *s, struct stream *inner, uint32_t uid);
/* How many connections of a uid are open. */
size_t unix_conn_count(const struct unix_server *s, uint32_t uid);

/* The handler of every streaming method. */
void unix_signals_subscribe(void *ctx, struct rpc_server_call *call,
                            const struct ProtobufCMessage *request);
void unix_signals_emit(struct ipc_server *server, const struct ipc_signal *signal,
                       const uint8_t *bytes, size_t len);
/* Forget all subscribers, whose calls are gone. */
void unix_signals_done(struct unix_server *s);
