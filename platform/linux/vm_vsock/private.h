/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/private.h - what the keeper tells its worker beside the
 * messages of the VMM, in the same framing. Every message to a worker gets an answer: the
 * reply that vhost-user knows, or a status. A keeper may be older than its worker, after
 * an upgrade in place: numbers and bodies never change their meaning. */
#pragma once

enum vhost_private {
    /* u64: workers that ended before. The worker is up. */
    VHOST_PRIVATE_HELLO = 0x766d0001,
    /* u64: 1 when queues are in use that another worker served; and the connection to the
     * VMM, for the time after the keeper. What was set up before is forgotten. */
    VHOST_PRIVATE_BEGIN = 0x766d0002,
    /* The VMM is gone. */
    VHOST_PRIVATE_LEFT = 0x766d0003,
    /* u64: a queue, which goes on where its used ring ends. In place of SET_VRING_BASE.
     */
    VHOST_PRIVATE_RESUME = 0x766d0004,
    /* Accept programs of the host from now on. */
    VHOST_PRIVATE_SERVE = 0x766d0005,
};

/* In the flags of an answer: its body is a status, u64, 0 for success. */
#define VHOST_FLAG_STATUS 0x10u
