/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_internal.h - what the files of the server share. */
#pragma once

#include "core/base/list.h"
#include "core/rpc/server.h"
#include "platform/linux/unix_ipc/unix_server.h"

struct os_listener;
struct stream;

/* Bytes that a subscriber may leave unread, beside what its socket and its windows hold.
 * Signals are some hundred bytes each, so that this is hundreds of them: whoever is that
 * far behind has stopped reading. */
#define UNIX_SIGNAL_QUEUE_MAX (64u * 1024)

/* Subscriptions per daemon. */
#define UNIX_SUBSCRIBERS_MAX 1024u

/* Of connections and of subscriptions, a uid other than root and the daemons' gets this
 * part, so that no user can lock the others out of a system daemon; and so much is
 * kept for those, because one person may own many uids (subuid(5)). */
#define UNIX_SHARE 4u

/* A connection without calls or subscriptions is closed after this: longer than any
 * client of ours thinks between two calls. */
#define UNIX_IDLE_MS 600000u

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
    bool draining; /* there are no subscriptions any more */
    void (*on_clients)(void *arg, size_t clients);
    void *arg; /* borrowed */
};

/* Places that are taken. */
struct unix_share {
    size_t own;     /* by one uid */
    size_t foreign; /* by all who are neither root nor a daemon of the set */
};
/* Whether that uid may have no more of all places. */
bool unix_is_full_for(const struct unix_server *s, uint32_t uid,
                      const struct unix_share *used, size_t all);

/* Tell who wants to know that the number of clients changed by one. */
void unix_server_count(struct unix_server *s, int change);

/* A stream that passes everything on to inner and counts as a client of s, with the uid,
 * while it is open. NULL: no memory, inner is untouched. */
struct stream *unix_conn_new(struct unix_server *s, struct stream *inner, uint32_t uid);
/* Whether a uid may open no more connections. */
bool unix_conn_is_full(const struct unix_server *s, uint32_t uid);

/* The handler of every streaming method. */
void unix_signals_subscribe(void *ctx, struct rpc_server_call *call,
                            const struct ProtobufCMessage *request);
void unix_signals_emit(struct ipc_server *server, const struct ipc_signal *signal,
                       const uint8_t *bytes, size_t len);
#define UNIX_DRAINING_TEXT "the daemon is going away"
/* End all subscriptions: the daemon is leaving. */
void unix_signals_end(struct unix_server *s);
/* Forget all subscribers, whose calls are gone. */
void unix_signals_done(struct unix_server *s);
