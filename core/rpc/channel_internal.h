/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/channel_internal.h - the channel's connections and calls.
 *
 * Every entry from the loop stands between channel_enter and channel_leave; the last
 * leave does what the state asks for: connect, send what waits, fail what failed, tell
 * the state. What is called from outside leaves that to a turn of the loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/rpc/channel.h"
#include "core/rpc/conn_internal.h"

#define CHANNEL_REASON_MAX 400

/* One connection. */
struct channel_link {
    struct vmt_list node;        /* in draining, or all zeroes */
    struct rpc_channel *channel; /* borrowed */
    struct rpc_client *client;   /* owned */
    size_t ncalls;               /* that run on it */
    bool used;                   /* a call was ever started on it */
};

struct rpc_channel {
    struct vmt_clock *clock;     /* borrowed */
    struct connector *connector; /* owned */
    struct rpc_channel_config config;
    char *authority; /* owned; may be NULL */
    enum rpc_channel_state state, told;
    struct channel_link *link;  /* owned; NULL but in READY and while SETTINGS are due */
    struct vmt_list draining;   /* connections that take no new calls, owned */
    struct vmt_list waiting;    /* calls without a connection, oldest first; owned */
    struct vmt_list failing;    /* the same, about to fail; owned */
    struct vmt_list running;    /* calls on a connection; owned */
    size_t nwaiting;            /* in waiting and failing */
    size_t waiting_bytes;       /* of their messages */
    uint64_t random;            /* state of the generator */
    uint32_t backoff_ms;        /* of the next attempt */
    uint64_t retry_ms;          /* no attempt before that time */
    uint64_t attempt_end_ms;    /* until when the server's SETTINGS must be here */
    struct vmt_timer *deadline; /* SETTINGS are due, or the next attempt */
    struct vmt_timer *turn;
    unsigned busy;
    bool asked;  /* to connect, without a call */
    bool failed; /* an attempt failed since the last success */
    bool closed;
    char reason[CHANNEL_REASON_MAX]; /* see on_state */
};

/* A message that waits, packed. */
struct channel_message {
    struct vmt_list node;
    const struct ProtobufCMessageDescriptor *type; /* borrowed */
    bool compress; /* rpc_client_compress when it was sent */
    size_t len;
    uint8_t bytes[];
};

/* What a call needs until it is started. */
struct channel_pending {
    struct rpc_client_request request; /* its pointers are those below */
    char *path;                        /* owned */
    struct rpc_metadata metadata;      /* owned */
    int fds[RPC_FDS_MAX];              /* owned */
    size_t nfds;
    struct vmt_list messages; /* struct channel_message, owned */
    size_t bytes;             /* of those, framed */
    bool half_closed, paused;
    bool compress;              /* what is sent from now on */
    uint64_t due_ms;            /* with a deadline only */
    struct vmt_timer *deadline; /* NULL: none */
};

struct rpc_channel_call {
    struct vmt_list node;                     /* in waiting, failing or running */
    struct rpc_channel *channel;              /* borrowed */
    const struct rpc_client_handler *handler; /* borrowed */
    void *arg;                                /* borrowed */
    struct channel_pending *pending;          /* owned; NULL once started */
    struct channel_link *link;                /* borrowed; NULL until started */
    struct rpc_client_call *call;             /* likewise */
};

/* channel.c */
void channel_enter(struct rpc_channel *channel);
void channel_leave(struct rpc_channel *channel);
/* Settle on the next turn of the loop. Returns 0 or -ENOMEM. */
int channel_turn(struct rpc_channel *channel);
/* The connection takes no more calls; it lives on until it tells its end. */
void channel_retire(struct rpc_channel *channel, const char *reason);
/* A call on link is over. */
void channel_link_done(struct channel_link *link);

/* channel_call.c: start what waits on the READY connection. */
void channel_flush(struct rpc_channel *channel);
/* End the first call of failing. */
void channel_fail_first(struct rpc_channel *channel);
/* Move the waiting calls that fail with a failed attempt, or all, to failing. */
void channel_give_up(struct rpc_channel *channel, bool all);
/* Free all calls of a list without a word. */
void channel_drop(struct vmt_list *calls);
