/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/concierge_internal.h - the concierge and its VMs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/hypervisor.h"
#include "core/adapter/spawn.h"
#include "core/base/list.h"
#include "core/concierge/agent_internal.h"
#include "core/concierge/balloon_internal.h"
#include "core/concierge/concierge.h"
#include "core/concierge/cpu_internal.h"
#include "core/concierge/disk_internal.h"
#include "core/concierge/ends_internal.h"
#include "core/concierge/follow_internal.h"
#include "core/concierge/guest_call_internal.h"
#include "core/concierge/guest_events_internal.h"
#include "core/concierge/hotplug_internal.h"
#include "core/concierge/images_internal.h"
#include "core/concierge/index_internal.h"
#include "core/concierge/network_internal.h"
#include "core/concierge/plan_internal.h"
#include "core/concierge/reclaim_internal.h"
#include "core/concierge/restart_internal.h"
#include "core/concierge/storage_internal.h"
#include "core/concierge/suspend_internal.h"
#include "core/concierge/template_internal.h"
#include "core/vm/id.h"
#include "core/vm/lifecycle.h"

#define VM_TYPE(name) VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__##name
#define VM_FAILURE_MAX 768
#define VM_ACCEL_REASON_MAX 256
#define VM_TOKEN_MAX 37 /* UUID and a NUL */
#define VM_EVENTS_MAX 16

/* spec 4.3 and 4.4, milliseconds. */
#define BOOT_PROGRESS_MS 60000u /* without a limit of its own: from the last progress */
#define BOOT_MAX_MS 600000u     /* and never longer than this */
#define BOOT_TICK_MS 1000u      /* how often the console is looked at while booting */
#define BOOT_LATE_MS 10000u     /* a look that is later than this: the host slept */
#define AGENT_CONNECT_MS 20000u
#define AGENT_RPC_MS 20000u
#define AGENT_SHUTDOWN_MS 30000u
#define STOP_STEP_MS 10000u
#define LOG_CHECK_MS 2000u

/* A guest writes a few MiB between two checks at most; with the HOST_LOGS_KEPT parts that
 * are kept beside it, a log stays below ten times this. */
#define CONSOLE_LOG_MAX (1024u * 1024)
#define CONSOLE_TAIL_LINES 20u

struct host;
struct ipc_call;
struct ipc_caller;
struct rpc_server;
struct transport_listener;
struct concierge_vm;

struct concierge {
    struct concierge_config config;
    struct ipc *ipc;                     /* borrowed, NULL: none */
    struct transport_listener *listener; /* owned: the StartupListener's port */
    struct rpc_server *strangers;        /* owned: callers that are no VM of ours */
    struct vmt_list vms;                 /* of struct concierge_vm.node, in order of id */
    struct vm_index by_id;               /* the same ones */
    struct vmt_list openings;            /* of struct opening: files on their way */
    struct vmt_list syncs;               /* of struct time_sync: SyncVmTimes in flight */
    struct concierge_follow follow;
    struct disk_desk disks;
    struct concierge_ends ends;
    struct vmt_list restarts;    /* of struct vm_restart: that wait for their time */
    struct vmt_timer *log_timer; /* owned, NULL while there is no VM */
    struct concierge_numbers numbers;
    struct balloons balloons;
    struct template_builder *builder; /* owned */
    struct concierge_connection connection;
    struct cpu_shares cpu;
    struct vmt_timer *storage_timer; /* owned; NULL while no VM wants to be told */
    bool shutting_down;
    uint64_t shutdown_end_ms; /* when all has to be over, 0: some time */
    char *launch_refusal; /* owned; why the last start could not run a program, or NULL */
};

/* Who waits for VMs to end. Freed when the last of them is gone. */
struct stop_group {
    struct ipc_call *call; /* owned until answered, NULL: done is told */
    void (*answer)(struct stop_group *group);
    void (*done)(void *arg);
    void *arg;
    unsigned left;                /* VMs, and 1 while the group is being filled */
    char failure[VM_FAILURE_MAX]; /* "" while all went well */
};

/* One VM that a group waits for; in the list of the VM. */
struct stop_waiter {
    struct vmt_list node;
    struct stop_group *group;
};

enum setup_step {
    SETUP_NETWORK,
    SETUP_RESOLV,
    SETUP_TIME,
    SETUP_ZONE,
    SETUP_TOKEN,
    SETUP_NAMES,
    SETUP_REPORT,
    SETUP_MOUNT,
    SETUP_STEP_COUNT
};

/* One RPC of the set-up in flight. */
struct setup_call {
    struct concierge_vm *vm; /* borrowed */
    enum setup_step step;
    bool active;
    int mount_error; /* errno of the guest's mount, 0 */
};

/* Microseconds of the monotonic clock; 0: not yet. */
struct boot_times {
    uint64_t request, launch, spawn, control, resumed, ready, running;
    uint64_t probe;          /* duration of an accelerator probe */
    uint64_t guest_agent_us; /* the agent from its start to VmReady, as it says */
};

struct concierge_vm {
    struct vmt_list node;
    struct concierge_vm *index_next; /* of struct vm_index */
    struct concierge *c;             /* borrowed */
    struct vm_id id;
    char key[VM_KEY_MAX];
    enum vm_state state;
    enum vm_event events[VM_EVENTS_MAX]; /* waiting for the one that is handled */
    unsigned nevents;
    bool dispatching;

    struct start_plan plan;
    int vm_type; /* VmTools__Concierge__VmInfo__VmType */
    enum hypervisor_accel accel;
    char accel_reason[VM_ACCEL_REASON_MAX]; /* why a probe chose accel, "" if none did */
    uint32_t cid;                           /* 0: none yet */
    struct vm_network network;
    uint32_t mem_mib;
    char *run_dir;       /* owned */
    char *console;       /* owned: path of the console log */
    char *companion_log; /* owned */
    char token[VM_TOKEN_MAX];
    struct vm_warm *warm;     /* owned; NULL: nothing to do with templates, or no more */
    const char *start_mode;   /* "cold": it booted; "warm": from a template; "snapshot" */
    struct vm_images *images; /* owned; NULL: not known, no snapshots */
    struct snapshot_op *snapshot; /* owned; NULL: none is being made */
    unsigned vsock_losses;     /* its guest let go of the vsock device unasked, or late */
    unsigned snapshot_answers; /* that the hypervisor owes it, or one that was given up */
    struct vm_restore *restore; /* owned; NULL: it is not started from a snapshot */
    bool frozen;                /* for a snapshot, perhaps an earlier daemon's */

    struct opening *opening; /* owned while files of the plan are being opened */
    void (*on_files)(struct concierge_vm *vm); /* what comes then */
    struct hypervisor_probe *probe;            /* owned while it runs */
    struct hypervisor_vm *hv;                  /* owned */
    struct spawn_child *companion;             /* owned; NULL: none, or gone */
    unsigned companions_replaced;        /* that died while no device was plugged in */
    struct spawn_id hv_id, companion_id; /* pid 0: never started */
    struct rpc_server *listener; /* owned: serves this VM's StartupListener calls */
    struct vm_agent agent;
    struct guest_calls guest_calls;
    struct vm_power power;
    struct vm_life life;
    struct guest_events events_of_guest;
    struct vm_restart *restart; /* owned; NULL: it is not started again */
    uint32_t follow_seen;       /* generation of the host's settings that the guest has */
    struct vmt_timer *timer;    /* owned: the step's deadline */
    struct vmt_timer *deferred; /* owned: an event for the next turn */
    enum vm_event deferred_event;
    bool reachable; /* the transport knows the cid */

    struct setup_call setup[SETUP_STEP_COUNT];
    unsigned setup_left; /* calls that the start waits for */
    size_t mounts_done;
    unsigned setup_breaks; /* of the connection, while it was set up */
    bool setup_again;      /* it begins anew when the timer runs out */

    struct boot_times times;
    uint64_t install_ms;      /* when the last VmInstallStatus was passed on */
    unsigned refusals_logged; /* of VmReady: a guest must not fill the log */
    uint64_t progress_ms;     /* last sign of progress */
    uint64_t watched_ms;      /* when the boot was looked at last, 0: never */
    uint64_t console_bytes;   /* seen so far */

    bool forgotten; /* vm_free is at work: the VM lives on without us */
    bool announced; /* VmStartingUp was sent: VmStopped has to be */
    bool stopping_announced;
    bool was_running;
    bool panicked;
    int stop_reason;              /* VmTools__Concierge__VmStopReason */
    char failure[VM_FAILURE_MAX]; /* first cause, "" while there is none */
    struct ipc_call *start_call;  /* owned until answered */
    struct vmt_list waiters;      /* of struct stop_waiter.node */
    struct vm_balloon balloon;
    struct vm_cpu cpu;
    struct vm_storage storage;
    struct vm_reclaim *reclaim; /* owned, NULL: none in flight */
    struct vm_hotplug *hotplug; /* owned; NULL: nothing was ever plugged */
};

/* --- vm.c: the engine --- */
/* A VM in state CREATED, in its place in c's list. plan is moved in on success. Returns 0
 * or -ENOMEM. */
int vm_new(struct concierge *c, struct start_plan *plan, struct concierge_vm **ret_vm,
           struct vmt_err *err);
/* Drop all handles without ending any process. */
void vm_free(struct concierge_vm *vm);
VMT_DEFINE_FREEP(struct concierge_vm, vm_free)
/* Put vm, which is nowhere yet, into c's list. */
void vm_insert(struct concierge_vm *vm);
/* It is not found any more. It may be nowhere already. */
void vm_remove(struct concierge_vm *vm);
struct concierge_vm *vm_find(struct concierge *c, const char *owner, const char *name);
struct concierge_vm *vm_find_cid(struct concierge *c, uint32_t cid);
/* Feed an event; its action runs before this returns, unless another one is running. vm
 * may be gone afterwards when called from a callback of its own. */
void vm_post(struct concierge_vm *vm, enum vm_event event);
/* Feed an event from the next turn of the loop. At most one waits. */
void vm_post_later(struct concierge_vm *vm, enum vm_event event);
/* Arm the step's deadline, replacing an earlier one: TIMEOUT comes then. */
void vm_arm(struct concierge_vm *vm, uint64_t delay_ms);
void vm_disarm(struct concierge_vm *vm);
/* Record why, unless something else failed before, and post FAILED. */
void vm_fail(struct concierge_vm *vm, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Only record. */
void vm_blame(struct concierge_vm *vm, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Has it not been answered, nor failed, so that the start still goes on? */
bool vm_is_booting(const struct concierge_vm *vm);
bool vm_is_stopping(const struct concierge_vm *vm);

/* --- actions, one function per value of enum vm_action --- */
void vm_act_launch(struct concierge_vm *vm);    /* launch.c */
void vm_act_configure(struct concierge_vm *vm); /* setup.c */
void vm_act_announce(struct concierge_vm *vm);  /* vm.c */
void vm_act_fall_back(struct concierge_vm *vm); /* template_start.c, with the next */
void vm_act_start_over(struct concierge_vm *vm);
void vm_act_relaunch(struct concierge_vm *vm); /* launch.c */
void vm_act_ask(struct concierge_vm *vm);      /* stop.c, up to finish */
void vm_act_wait(struct concierge_vm *vm);
void vm_act_quit(struct concierge_vm *vm);
void vm_act_term(struct concierge_vm *vm);
void vm_act_kill(struct concierge_vm *vm);
void vm_act_give_up(struct concierge_vm *vm);
void vm_act_release(struct concierge_vm *vm);
void vm_act_kill_companion(struct concierge_vm *vm);
void vm_act_finish(struct concierge_vm *vm);
void vm_act_prepare(struct concierge_vm *vm); /* suspend.c, the rest */
void vm_act_pause(struct concierge_vm *vm);
void vm_act_rest(struct concierge_vm *vm);
void vm_act_hold(struct concierge_vm *vm);
void vm_act_unpause(struct concierge_vm *vm);
void vm_act_catch_up(struct concierge_vm *vm);
void vm_act_stay(struct concierge_vm *vm);
void vm_act_sleep_on(struct concierge_vm *vm);
void vm_act_wake(struct concierge_vm *vm);

/* --- plan_files.c --- */
/* Open the files of the plan that wait for it, with the rights of caller, which is
 * borrowed for this call; then next runs, or FAILED is posted. */
void vm_open_files(struct concierge_vm *vm, const struct ipc_caller *caller,
                   void (*next)(struct concierge_vm *vm));

/* --- launch.c --- */
/* Where its vsock device listens for the hypervisor; malloc'ed, NULL without memory. */
char *vm_vhost_path(const struct concierge_vm *vm);
/* Choose the accelerator, then post PROBED or FAILED. */
void vm_probe(struct concierge_vm *vm);
extern const struct hypervisor_events vm_hypervisor_events;
void vm_on_companion_exit(void *arg, const struct spawn_exit *how);
/* What is left of the vsock device when the process that we knew is gone. Returns whether
 * there is something: then that is the companion now. */
bool vm_companion_survives(struct concierge_vm *vm);
/* Start vm_vsock at the sockets of vm, in the place of one that may have been there. The
 * sockets listen before either end starts, so neither waits for the other. */
int vm_start_companion(struct concierge_vm *vm, struct vmt_err *err);
/* Make vm reachable and serve its StartupListener calls. */
int vm_connect(struct concierge_vm *vm, struct vmt_err *err);
/* Look for progress until the guest is ready. */
void vm_watch_boot(struct concierge_vm *vm);

/* --- setup.c --- */
/* Tell a guest that runs its name servers once more; a failure is logged. */
void setup_send_resolv(struct concierge_vm *vm);
/* Send what every guest gets over the open connection to its agent. */
void vm_setup_steps(struct concierge_vm *vm);

/* --- startup.c --- */
int startup_listen(struct concierge *c, struct vmt_err *err);
/* The daemon is about to end: guests that check its health are told. */
void startup_leave(struct concierge *c);
void startup_unlisten(struct concierge *c);
/* A server for one VM, whose calls are its own. */
int startup_serve(struct concierge_vm *vm, struct vmt_err *err);

/* --- stop.c --- */
/* Arm the deadline of the step of a stop that vm is in. */
void vm_arm_stop(struct concierge_vm *vm);
/* Want vm to end, for group, with a reason (VmTools__Concierge__VmStopReason) that counts
 * if it is the first. Returns 0 or -ENOMEM. */
int vm_stop(struct concierge_vm *vm, struct stop_group *group, int reason);
/* Begin, or go on with, the stop that somebody asked for. */
void vm_stop_asked(struct concierge_vm *vm);
/* The group has been filled. */
void stop_group_filled(struct stop_group *group);
/* Answer the waiters of vm; failure is NULL when it ended. */
void vm_answer_waiters(struct concierge_vm *vm, const char *failure);

/* --- record.c --- */
/* Write what an heir needs to know. Returns 0 or -errno with words. */
int vm_record_save(struct concierge_vm *vm, struct vmt_err *err);
void vm_record_remove(struct concierge_vm *vm);
/* The daemon's own record: numbers for the next VMs. */
int concierge_record_save(struct concierge *c, struct vmt_err *err);
void concierge_record_load(struct concierge *c);

/* --- signals.c --- */
typedef struct VmTools__Concierge__VmInfo VmTools__Concierge__VmInfo;
#define VM_TRANSPORT_MAX 512
/* Fill in info; strings point into vm and transport, which has VM_TRANSPORT_MAX bytes.
 * The token is left out. */
void vm_info_fill(const struct concierge_vm *vm, VmTools__Concierge__VmInfo *info,
                  char *transport);
int vm_status(const struct concierge_vm *vm); /* VmTools__Concierge__VmStatus */
void signal_starting_up(struct concierge_vm *vm);
void signal_started(struct concierge_vm *vm);
void signal_stopping(struct concierge_vm *vm);
void signal_stopped(struct concierge_vm *vm);

/* --- handlers_life.c --- */
/* A VM in no list, from a request whose "already running" was checked. in as for
 * plan_make: its descriptors are taken in any case. */
int concierge_make_vm(struct concierge *c, const struct plan_input *in,
                      struct concierge_vm **ret_vm, struct vmt_err *err);

/* --- reply.c --- */
/* Answer the start that waits, if any: running, or failed for vm->failure. */
void vm_answer_start(struct concierge_vm *vm);
/* The answer for a VM that is there already. */
void reply_present(struct concierge_vm *vm, struct ipc_call *call);
void reply_start_failure(struct ipc_call *call, const char *why);
/* SuccessFailureResponse; why is NULL for success. */
void reply_success(struct ipc_call *call, const char *why);
/* A disk operation is in the way; what names it. */
void reply_start_busy(struct ipc_call *call, const char *what);

/* --- console.c --- */
/* The last lines of the VM's console, escaped line by line; "" if none. malloc'ed, NULL
 * without memory. */
char *console_last_lines(struct concierge_vm *vm, unsigned lines);
/* The last line of recent console output that contains words, escaped; malloc'ed, NULL if
 * there is none. */
char *console_find_line(struct concierge_vm *vm, const char *words);
/* Make console output fit for a protobuf string and a terminal: printable ASCII, newline
 * and tab stay, carriage return goes, the rest becomes \xNN. malloc'ed, NULL without
 * memory. */
char *console_escape(const char *data, size_t len);
/* Path of the console log of a VM; malloc'ed, NULL without memory. */
char *console_path(struct concierge *c, const struct vm_id *id);
/* Keep all logs within their bounds from now on, for as long as there are VMs. */
void console_watch(struct concierge *c);

/* --- handlers_time.c --- */
void time_syncs_free(struct concierge *c);

/* --- concierge.c --- */
/* Remember how the processes of a VM started: err is NULL when they run; a program that
 * is missing or unfit counts until the next start. */
void concierge_note_launch(struct concierge *c, const struct vmt_err *err);
/* Can VMs be started on this host, as far as the last start told? *ret_why, borrowed
 * until the next start and untouched if so, says why not. */
bool concierge_launch_allowed(const struct concierge *c, const char **ret_why);
/* The same, but a start is tried even when the last one could not run a program. */
bool concierge_start_allowed(const struct concierge *c, const char **ret_why);
/* Something ended; was it the last? */
void concierge_vm_gone(struct concierge *c);
/* May this caller start one more VM, id? Returns 0 or -EAGAIN with words. */
int concierge_check_room(struct concierge *c, const struct ipc_call *call,
                         const struct vm_id *id, struct vmt_err *err);
/* UUID version 4, RFC 4122, 4.4; lower case. uuid has VM_TOKEN_MAX bytes. */
int concierge_make_uuid(struct concierge *c, char *uuid, struct vmt_err *err);
