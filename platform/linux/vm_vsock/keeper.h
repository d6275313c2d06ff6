/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/keeper.h - the process that the VMM talks to, and that keeps a
 * worker running.
 *
 * It hands each message of the VMM to the worker and remembers what was set up (see
 * session.h); it never maps the guest's memory and never sees a byte of the guest. When
 * the worker ends, another one gets the same set-up: the guest's connections are reset,
 * and new ones work. VMMs do not set a device up again whose back end came back: QEMU 7.2
 * has no handler for it in hw/virtio/vhost-user-vsock.c. */
#pragma once

#include <stdbool.h>

struct keeper;
struct os_loop;
struct spawn;
struct vmt_err;

struct keeper_config {
    struct os_loop *loop;    /* borrowed */
    struct spawn *spawn;     /* borrowed */
    const char *const *argv; /* borrowed; a worker's command line, which is for these: */
    int worker_fd;           /* its channel, */
    int vsock_fd;            /* the socket of host programs, */
    int journal_fd;          /* and the journal of its connections */
    unsigned tick_ms;        /* a worker may leave 10 of these without an answer */
    /* Descriptors of ours, owned on success: */
    int vhost, vsock, journal;
};

int keeper_new(const struct keeper_config *config, struct keeper **ret_keeper,
               struct vmt_err *err);
void keeper_free(struct keeper *keeper);

/* Start the first worker, and accept VMMs. */
int keeper_start(struct keeper *keeper, struct vmt_err *err);

/* Replace the worker by a new one, of the program as it is on disk now. Should that not
 * come up, or not say so in time, the old one stays. */
void keeper_replace(struct keeper *keeper);

/* Let the worker log its statistics. */
void keeper_statistics(struct keeper *keeper);

/* End the worker, then the loop: with 0 if the worker ended well. */
void keeper_stop(struct keeper *keeper);
