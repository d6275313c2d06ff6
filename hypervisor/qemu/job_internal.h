/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/job_internal.h - calls on a VM that need more than one QMP command: a
 * list of steps, what undoes them, and waiting for a device to be gone.
 *
 * Every job begins with QEMU's list of devices, which its plan looks at, so nothing has
 * to be remembered between jobs or lives of the daemon. Jobs of one VM run side by side;
 * a slot that one has chosen is reserved until it ends. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "core/adapter/hypervisor.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "hypervisor/qemu/peripheral_internal.h"

struct qemu_job;
struct vmt_timer;

/* A guest that runs lets go of a device within 0.1 s, but one that is emulated on a busy
 * host may need long to get there. */
#define QEMU_UNPLUG_DEADLINE_MS 20000u

struct qemu_job_step {
    const char *command; /* NULL with qemu_job_waits: wait for the guest */
    /* Arguments of the command, a new reference; NULL result: no memory. */
    json_t *(*arguments)(const struct qemu_job *job);
    bool with_fd;  /* send job->fd along */
    bool optional; /* QEMU may refuse it: it cleans up what may not be there */
    /* Is the step needed? NULL: it is. */
    bool (*needed)(const struct qemu_job *job);
};

/* The last element of a list of steps. */
#define QEMU_JOB_END                                                                     \
    {                                                                                    \
        0                                                                                \
    }

struct qemu_job_kind {
    const char *what; /* "plug a disk", for words of errors */
    /* The device that it is about is in job->peripheral if it is there: decide, and set
     * slot and device. Returns 0 or -errno with words, which ends the job. NULL: there is
     * nothing to decide, and no list is asked for. */
    int (*plan)(struct qemu_job *job, struct vmt_err *err);
    const struct qemu_job_step *steps; /* both end with an element of zeroes */
    const struct qemu_job_step *undo;  /* of a job that QEMU refused; NULL: nothing */
    /* What QEMU returned to a step; NULL: nobody wants it. Returns 0, or -errno with
     * words in job->err. */
    int (*on_data)(struct qemu_job *job, unsigned step, const json_t *data);
};

struct qemu_job {
    struct vmt_list node;
    struct hypervisor_vm *vm; /* borrowed */
    const struct qemu_job_kind *kind;
    const struct qemu_job_step *step;  /* that runs */
    char subject[QEMU_DEVICE_ID_MAX];  /* what plan looks for: "disk-..", "nic-.." */
    struct qemu_peripheral peripheral; /* when it began */
    char device[QEMU_DEVICE_ID_MAX];   /* that comes or goes */
    unsigned slot;                     /* wanted, then reserved; 0: none */
    unsigned port;                     /* of USB */
    int fd;                            /* owned, -1: none */
    char *path;                        /* owned, NULL: none */
    struct hypervisor_disk disk;       /* of disk_add: flags; path and serial are NULL */
    char serial[24];
    uint8_t mac[HYPERVISOR_MAC_LEN];
    uint64_t number;                 /* of bytes */
    struct hypervisor_memory memory; /* of the memory job */
    bool deleted;                    /* the device is gone */
    bool undoing;
    int result; /* of a job that is being undone */
    struct vmt_err err;
    struct vmt_timer *deadline; /* of waiting */
    hypervisor_done_fn *done;   /* one of these, or none */
    hypervisor_memory_fn *memory_done;
    void *arg; /* borrowed */
};

/* A job to fill in; NULL: no memory. */
struct qemu_job *qemu_job_new(struct hypervisor_vm *vm, const struct qemu_job_kind *kind);
/* Before it is started. NULL is legal. */
void qemu_job_free(struct qemu_job *job);
/* Keep a copy of fd. Returns 0 or -errno. */
int qemu_job_fd(struct qemu_job *job, int fd);
/* Begin; the job frees itself when it is done. Returns 0, -ENOTCONN, -EBUSY, -ENOMEM:
 * the job is freed then, too. */
int qemu_job_start(struct qemu_job *job);

/* The needed of a step that waits for job->device to be gone. */
bool qemu_job_waits(const struct qemu_job *job);

/* Slots that jobs under way have chosen, but for this one. */
uint32_t qemu_job_reserved(const struct qemu_job *job);
/* Has another job for the same subject begun? Then plan says -EBUSY. */
bool qemu_job_is_repeated(const struct qemu_job *job);

/* What QEMU tells in events: the device of a name is gone, or will stay. */
void qemu_jobs_on_deleted(struct hypervisor_vm *vm, const char *device);
void qemu_jobs_on_refused(struct hypervisor_vm *vm, const char *device);
/* The control channel is gone: those that wait fail. */
void qemu_jobs_fail(struct hypervisor_vm *vm);
/* Without any callback. */
void qemu_jobs_drop(struct hypervisor_vm *vm);

VMT_DEFINE_FREEP(struct qemu_job, qemu_job_free)
