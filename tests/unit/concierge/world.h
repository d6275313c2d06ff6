/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/concierge/world.h - a concierge on fakes, its clients and its guests. Every
 * resource is counted: world_done fails the test when something is left. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "concierge_service.pb-c.h"
#include "core/concierge/concierge.h"
#include "core/ipc/ipc.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_host.h"
#include "tests/fake/fake_hypervisor.h"
#include "tests/fake/fake_spawn.h"
#include "tests/fake/fake_transport.h"
#include "tests/fake/fake_watch.h"
#include "tests/unit/concierge/workers.h"

#define WORLD_UID 1000u
#define WORLD_OWNER "75696431"
#define WORLD_COMPANIONS_MAX 256
#define WORLD_SYNCS_MAX 64
#define JOURNAL_MAX 16384
#define WORLD_SNAPSHOTS 2u

struct world {
    struct fake_clock *clock;
    struct fake_net *net;
    struct transport *transport;
    struct spawn *spawn;
    struct host *host;
    struct hypervisor *hv;
    struct fake_watch watch;
    bool require_mitigations;         /* of the next daemon */
    uint32_t shutdown_limit_ms;       /* likewise */
    struct host_net *host_net;        /* the test's own, NULL: none */
    struct concierge_network network; /* all zeroes: the user network */
    struct concierge *c;
    struct ipc *ipc;
    struct ipc_server server;                 /* hears the signals */
    char journal[JOURNAL_MAX];                /* one line per signal, see world_journal */
    int32_t companions[WORLD_COMPANIONS_MAX]; /* pids of vm_vsock, in order of start */
    size_t ncompanions;
    unsigned starting_ups, stoppeds; /* signals of these kinds, ever */
    /* Hears each signal too; NULL: nobody. */
    void (*on_signal)(struct world *w, const char *name, const ProtobufCMessage *m);
    int32_t helper;         /* pid of the last child that runs a function of ours */
    bool helpers_run;       /* they do that at once, else they wait for the test */
    bool files_opened;      /* since the last call of a client began */
    bool files_silent;      /* no file that is named by path can be opened, nor not */
    bool companion_missing; /* there is no such program */
    bool companions_hang;   /* they ignore SIGTERM */
    struct workers workers; /* vm_disk */
    unsigned idles;         /* calls of on_idle */
    /* For world_start_daemon; 0 at the start, so that nothing is built behind a test. */
    unsigned template_count;
    uint64_t template_bytes;
    uint64_t snapshot_bytes;        /* a next daemon's, like those above */
    int32_t syncs[WORLD_SYNCS_MAX]; /* that write a state to the disk; 0: a free place */
    bool sync_hangs;
    int sync_fails; /* its exit code */
    int fds_before;
};

void world_init(struct world *w);
/* Ends the daemon, then checks that no VM, process, directory, record, timer or
 * descriptor is left. */
void world_done(struct world *w);

/* The daemon dies and leaves everything as it is; a new one adopts. */
void world_kill_daemon(struct world *w);
void world_start_daemon(struct world *w);

/* Let time pass; companions that got SIGTERM end, disk workers do their work. */
void world_run(struct world *w, uint64_t ms);

/* The signals so far, a line each: "VmStartingUp demo 32", "VmStarted demo 32 status 1",
 * "VmStopping demo 32", "VmStopped demo 32 reason 1 left 0" - left counts the
 * directories, processes and companions at that moment; "DiskImageProgress status 6
 * progress 40". Compared and emptied. */
void world_expect_signals(struct world *w, const char *expected);

/* One call of a client. */
struct client_call {
    int answers; /* 0 or 1 */
    bool failed;
    enum ipc_error code;
    char text[1024];         /* of a failure */
    ProtobufCMessage *reply; /* owned, NULL without a result */
    const ProtobufCMessageDescriptor *type;
};
void client_call(struct world *w, const char *method, uint32_t uid,
                 const ProtobufCMessage *request, const int *fds, size_t nfds,
                 struct client_call *call);
void client_call_done(struct client_call *call);

/* A request that passes every check: kernel and root image by descriptor, no disk. */
struct start_args {
    VmTools__Concierge__StartVmRequest request;
    VmTools__Concierge__StartVmRequest__FdType kinds[16];
    int fds[16];
    size_t nfds;
};
void start_args_init(struct start_args *args, const char *name);
void start_args_done(struct start_args *args);
void client_start(struct world *w, struct start_args *args, struct client_call *call);
/* The same with everything by default. */
void client_start_name(struct world *w, const char *name, struct client_call *call);
void client_stop(struct world *w, const char *name, struct client_call *call);

const VmTools__Concierge__StartVmResponse *start_reply(const struct client_call *call);
const VmTools__Concierge__SuccessFailureResponse *
stop_reply(const struct client_call *call);
/* The call has been answered, refused, and its reason holds words. */
void expect_start_refused(const struct client_call *call, const char *words);
/* Status of a VM by GetVmInfo, -1 if it is unknown. */
int client_status(struct world *w, const char *name);
/* Start and bring to running; the guest obeys. */
struct guest;
struct guest *world_run_vm(struct world *w, const char *name);
/* Bring the VM of a start that waits to running, with this guest. */
void world_become_ready(struct world *w, struct guest *g);
/* Stop a VM, which has to work, and free its guest; g may be NULL. */
void world_stop_vm(struct world *w, const char *name, struct guest *g);
