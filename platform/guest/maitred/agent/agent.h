/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/agent.h - the running agent: what the host's calls work
 * on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "platform/guest/maitred/init/boot.h"
#include "platform/guest/maitred/proc/table.h"
#include "platform/guest/maitred/rpc/balloon.h"
#include "platform/guest/maitred/rpc/net.h"
#include "platform/guest/maitred/rpc/termina.h"
#include "platform/guest/maitred/rpc/time.h"

struct application;
struct events;
struct devices;
struct failures;
struct freezer;
struct jobs;
struct link_watch;
struct memory_watch;
struct naming;
struct os_listener;
struct os_loop;
struct power_button;
struct ready;
struct rpc_server;
struct rpc_server_call;
struct shutdown;
struct transport;
struct vmt_clock;
struct vmt_err;
struct vmt_timer;
struct watchdog;

#define AGENT_WAITING_MAX 16 /* callers of Shutdown at the same time */

/* Of one file system at a time; see rpc/resize.c. */
struct resize {
    bool in_progress;
    uint64_t current_size, target_size; /* bytes, 0: never */
    char failure[256];                  /* of the last one, "" */
};

struct agent {
    struct os_loop *loop;    /* borrowed */
    struct vmt_clock *clock; /* borrowed */
    struct boot boot;        /* as a service: only cmdline defaults and the report */
    bool is_init;            /* PID 1: the whole system is ours */
    struct proc_table procs;
    struct transport *transport;     /* owned; NULL without vsock */
    struct rpc_server *server;       /* owned */
    struct failures *failures;       /* owned; NULL without vsock */
    struct events *events;           /* owned; NULL without vsock */
    struct application *application; /* owned; NULL until it ended */
    unsigned launches;               /* programs that got a group of their own */
    struct jobs *jobs;               /* owned; NULL when there is none to start */
    struct ready *ready;             /* owned; NULL once acknowledged, and as a service */
    struct shutdown *shutdown;       /* owned; NULL until it begins */
    struct power_button *button;     /* owned; NULL where nothing can be watched */
    struct os_listener *unix_listener; /* owned; NULL without --listen */
    struct vmt_timer *late;            /* owned by the clock: the next late step */
    struct watchdog *watchdog;         /* owned; NULL: the machine has none */
    bool is_late;                      /* late_start ran */
    struct memory_watch *memory;       /* owned; NULL until the late part of the boot */
    struct link_watch *link;           /* owned; NULL without device events */
    struct devices *devices;           /* owned; NULL before the late part of the boot */
    bool awaits_identity;              /* a template: no program was started yet */
    bool is_settled;                   /* what programs and calls need is in place */
    bool was_acked;                    /* the host has taken VmReady once */
    bool is_up;                        /* the host may be told that we are ready */
    /* Runs with the agent after the startup jobs; NULL: VmReady follows them. */
    void (*on_started)(void *arg);
    struct naming *naming;            /* owned; NULL without a SetIdentity under way */
    struct freezer *freezer;          /* owned; NULL until the first Freeze */
    struct rpc_server_call *freezing; /* the Freeze under way, or NULL */
    struct vmt_timer *abandoned;      /* owned by the clock; NULL: nothing is frozen */
    uint32_t frozen_cid;              /* our context id when we were frozen */
    struct rpc_server_call *waiting[AGENT_WAITING_MAX]; /* for the end of the shutdown */
    size_t nwaiting;
    struct resize resize;
    struct balloon balloon;
    struct zone zone;
    struct net_kept net;
    struct termina termina;
};

/* Serve the host on vsock; as PID 1 also start the services and jobs and report ready.
 * With unix_path (not as PID 1) the same calls are served there instead, for callers of
 * our own uid: for systems without vsock, and for tests. boot is copied, with what it
 * owns. As PID 1 only a lack of memory fails: what else is missing is in the report. */
int agent_start(struct agent *agent, struct os_loop *loop, const struct boot *boot,
                const char *unix_path, struct vmt_err *err);

/* The template has its identity: start what a guest that boots starts before VmReady.
 * on_started gets the agent, from the loop or from inside. */
void agent_start_programs(struct agent *agent, void (*on_started)(void *arg));

/* Tell the host that we are ready, once more if it was told. */
void agent_tell_ready(struct agent *agent);

/* Forget a SetIdentity under way. */
void naming_cancel(struct agent *agent);

/* Let everything run again; nothing frozen is fine. */
void agent_thaw(struct agent *agent);

/* Begin the shutdown; once is enough, later calls change nothing. As PID 1 only. */
int agent_shut_down(struct agent *agent, struct vmt_err *err);

void agent_done(struct agent *agent);
