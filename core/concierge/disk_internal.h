/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_internal.h - disk images and the operations on them.
 * What takes long is done by a worker process (vm_disk), one per operation, in a session
 * of its own: it outlives the daemon. It writes its progress to a log, which the next
 * daemon finds by the operation's record. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/spawn.h"
#include "core/base/list.h"
#include "core/disk/name.h"
#include "core/disk/op.h"

struct concierge;
struct disk_live;
struct ipc_call;
struct stop_group;
struct vmt_argv;
struct vmt_err;
struct vmt_timer;

#define DISK_RECORD_PREFIX "disk-"
#define DISK_TICK_MS 1000u
/* From the request to end by SIGTERM to SIGKILL. */
#define DISK_CANCEL_MS 5000u

/* Descriptors of a worker. */
#define DISK_CHILD_PROGRESS_FD 3
#define DISK_CHILD_DATA_FD 4
#define DISK_CHILD_DIGEST_FD 5

/* Member of struct concierge. */
struct disk_desk {
    struct disk_op_table table; /* of struct disk_job.op */
    struct vmt_list lists;      /* of struct disk_list: ListVmDisks in flight */
    struct vmt_list tokens;     /* see disk_live.c */
    struct vmt_timer *reaper;   /* owned; forgets old operations */
};

struct disk_job;
typedef void disk_job_fn(struct disk_job *job);

/* One operation, from its begin until it is forgotten. */
struct disk_job {
    struct disk_op op;
    struct concierge *c; /* borrowed */
    enum disk_kind image;
    struct spawn_child *child;    /* owned while the worker runs */
    struct spawn_id worker;       /* pid 0: none */
    struct vmt_timer *tick;       /* owned while it runs */
    bool killing;                 /* the tick is the deadline of a cancel */
    struct ipc_call *call;        /* owned: who waits for the end, or NULL */
    disk_job_fn *answer;          /* with call */
    struct ipc_call *cancel_call; /* owned: who waits for the cancel, or NULL */
    struct disk_live *live;       /* owned: of a live resize, else NULL */
    struct stop_group *group;     /* borrowed while VMs are stopped for it, or NULL */
};

/* --- disk.c: the operations --- */
void disk_desk_init(struct disk_desk *desk);
void disk_desk_done(struct concierge *c);
/* Forget what is old, and look again when something is left that grows old. */
void disk_desk_reap(struct concierge *c);

/* Begin an operation on an image. Returns 0; -EBUSY while another one works on it;
 * -EAGAIN, -ENOMEM, -errno. */
int disk_job_new(struct concierge *c, const struct vm_id *id, enum disk_op_kind kind,
                 struct disk_job **ret_job, struct vmt_err *err);
/* It is over: tell everybody who waits. The job is gone afterwards if nobody can ask for
 * it any more. text may be NULL. */
void disk_job_end(struct disk_job *job, enum disk_result result, const char *text);
/* Without a word: it never began. */
void disk_job_drop(struct disk_job *job);
VMT_DEFINE_FREEP(struct disk_job, disk_job_drop)
/* How far it is, and the signal about it if one is due. */
void disk_job_advance(struct disk_job *job, unsigned percent);
/* Forget a finished operation. */
void disk_job_forget(struct disk_job *job);
/* VmTools__Concierge__DiskImageStatus of an operation. */
int disk_job_status(const struct disk_job *job);
/* The sentence for people, "" when all went well. */
const char *disk_job_failure(const struct disk_job *job);
struct disk_job *disk_job_find(struct concierge *c, const char *uuid);
struct disk_job *disk_job_find_running(struct concierge *c, const char *owner,
                                       const char *name);

/* --- disk_run.c: the worker --- */
struct disk_fd {
    int fd; /* borrowed; below 0: none */
    int to; /* DISK_CHILD_* */
};
/* Run the worker with argv (without the program and --progress-fd). On failure the job is
 * the caller's. Returns 0 or -errno. */
int disk_job_run(struct disk_job *job, const struct vmt_argv *args,
                 const struct disk_fd *fds, size_t nfds, struct vmt_err *err);
/* Read what the worker wrote, without waiting for anything. */
void disk_job_look(struct disk_job *job);
/* End the worker; call is answered when it is gone. */
void disk_job_cancel(struct disk_job *job, struct ipc_call *call);
/* Watch the worker of an earlier daemon, or conclude how it ended. */
void disk_job_resume(struct disk_job *job);

/* --- disk_record.c --- */
int disk_record_save(struct disk_job *job, struct vmt_err *err);
void disk_record_remove(struct disk_job *job);
/* Take over the operations of an earlier daemon. */
void disks_adopt(struct concierge *c);

/* --- handlers_disk_list.c --- */
void disk_lists_free(struct concierge *c);

/* --- handlers_disk.c --- */
/* Which file is the image of id. Returns 0; -ENOENT for none; -EEXIST for a raw and a
 * qcow2 image of one name, of which nobody knows which one counts; -errno. */
struct host_disk;
int disk_find(struct concierge *c, const struct vm_id *id, enum disk_kind *ret_kind,
              struct host_disk *ret_info, struct vmt_err *err);
