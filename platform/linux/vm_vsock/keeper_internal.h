/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/keeper_internal.h - shared by keeper.c (the VMM's side) and
 * keeper_worker.c (the worker's). */
#pragma once

#include "core/adapter/spawn.h"
#include "platform/linux/vm_vsock/channel.h"
#include "platform/linux/vm_vsock/keeper.h"
#include "platform/linux/vm_vsock/log_limit.h"
#include "platform/linux/vm_vsock/session.h"

struct event;

enum worker_state {
    WORKER_HELLO,  /* it was started, and said nothing yet */
    WORKER_REPLAY, /* it is told what the VMM set up */
    WORKER_IDLE,
    WORKER_ASKED, /* a message of ours is with it */
    WORKER_BUSY,  /* the VMM's message is with it */
    WORKER_GONE,  /* its end is awaited */
};

struct keeper_worker {
    struct keeper *keeper;     /* borrowed */
    struct spawn_child *child; /* owned; NULL: it ended */
    struct vhost_channel channel;
    struct event *io;    /* owned */
    struct event *timer; /* owned; patience with one that has to answer, or to end */
    enum worker_state state;
    unsigned ticks;     /* of waiting for its answer */
    bool silent;        /* it was killed for that */
    unsigned stage, at; /* of the replay */
};

/* Workers that ended in a while, see worker_lost. */
struct keeper_deaths {
    uint64_t window_ms; /* when the window began */
    unsigned count;     /* in it */
    unsigned cost;      /* of these; one that has to be waited for costs more */
    uint64_t total;
};

struct keeper {
    struct keeper_config config; /* owns its vhost, vsock, journal */
    struct event *accept;        /* owned; pending while there is no VMM */
    struct event *resume;        /* owned; accepting goes on */
    struct vhost_channel vmm;
    struct event *vmm_io;          /* owned; NULL: no VMM */
    struct vhost_session *session; /* owned */
    bool begins, left;             /* the worker has to hear that about the VMM */
    bool pending;                  /* the message in vmm has no answer yet */
    bool statistics;               /* wanted by a signal */
    bool stopping;
    struct keeper_worker *worker; /* owned; NULL: between two */
    struct keeper_worker *next;   /* owned; is to replace worker */
    struct event *again;          /* owned; the next start */
    struct keeper_deaths deaths;
    struct log_limit log;
};

/* keeper_worker.c */
int worker_start(struct keeper *k, struct keeper_worker **ret_worker,
                 struct vmt_err *err);
void worker_free(struct keeper_worker *w);
/* Ask it to end; it is killed when it does not. */
void worker_end(struct keeper_worker *w);
/* Send a message, and be in state until its answer. A worker that does not take it, or
 * does not answer in time, is killed. */
void worker_send(struct keeper_worker *w, const struct vhost_message *msg, const int *fds,
                 size_t nfds, enum worker_state state);
/* Start one that serves, now or after a pause. */
void worker_begin(struct keeper *k);

/* keeper.c */
/* Give the idle worker the next thing to do. */
void keeper_pump(struct keeper *k);
/* The worker's answer to the VMM's message. */
void keeper_answered(struct keeper *k, const struct vhost_message *reply);
