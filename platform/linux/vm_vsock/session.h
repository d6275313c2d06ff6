/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/session.h - what a VMM has set up so far, as the messages that
 * would set it up again for another worker. Only the VMM's own messages are looked at,
 * never the guest's memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/linux/vm_vsock/channel.h"

struct vhost_session;

/* Returns NULL when there is no memory. */
struct vhost_session *vhost_session_new(void);
void vhost_session_free(struct vhost_session *session);

/* A VMM begins, or is gone: forget everything. */
void vhost_session_clear(struct vhost_session *session);

/* A worker accepted the message; its descriptors are taken from fds (set to -1) when they
 * are kept. reply is the body of the worker's answer, of reply_len bytes. Nothing of it
 * is believed further than it is checked here. */
void vhost_session_record(struct vhost_session *session, const struct vhost_message *msg,
                          int *fds, size_t nfds, const uint8_t *reply, size_t reply_len);

/* The protocol features that were agreed. */
uint64_t vhost_session_protocol(const struct vhost_session *session);

/* The message number *at of a replay, which begins with 0; *at becomes that of the next.
 * ret_msg and ret_fds are borrowed until the session changes. Returns false after the
 * last one. */
bool vhost_session_replay(const struct vhost_session *session, unsigned *at,
                          struct vhost_message *ret_msg, const int **ret_fds,
                          size_t *ret_nfds);
