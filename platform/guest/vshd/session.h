/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/session.h - one client, one command. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/list.h"

struct accepted_pool;
struct os_loop;
struct stream;
struct vshd_config;
struct vshd_session;

/* The session has come to its end and may be freed, but not from inside this call. */
typedef void vshd_session_done_fn(void *arg, struct vshd_session *session);

struct vshd_session_config {
    struct os_loop *loop;             /* borrowed */
    const struct vshd_config *config; /* borrowed */
    uint32_t id;                      /* of all sessions of this vshd */
    struct accepted_pool *accepted;   /* borrowed */
    bool full;                        /* only tell the client that there are too many */
    /* May one more command run? One more connection be carried? */
    bool (*has_room)(void *arg);
    bool (*may_carry)(void *arg);
    /* Send asking the list of all sessions, see vshd_session_tell. */
    int (*list)(void *arg, struct vshd_session *asking);
    vshd_session_done_fn *on_done;
    void *arg; /* borrowed */
};

/* Takes stream over, also on failure. Returns 0 or -ENOMEM. */
int vshd_session_new(struct stream *stream, const struct vshd_session_config *config,
                     struct vshd_session **ret_session);
/* A command that still runs gets SIGHUP; it is reaped by whoever reaps. */
void vshd_session_free(struct vshd_session *session);

/* The process of the command, 0 before and after. */
pid_t vshd_session_pid(const struct vshd_session *session);
/* It was reaped with this wait(2) status. */
void vshd_session_on_exit(struct vshd_session *session, int wait_status);

/* Does it have a command, or will have one? */
bool vshd_session_is_command(const struct vshd_session *session);
/* Does it carry a connection, or will it? */
bool vshd_session_carries(const struct vshd_session *session);
/* Tell what session is to the client of asking. Returns 0 or -errno; a session that is
 * not set up yet, and asking itself, are left out. */
int vshd_session_tell(const struct vshd_session *session, struct vshd_session *asking);

/* For the list that the session is in. */
struct vmt_list *vshd_session_node(struct vshd_session *session);
struct vshd_session *vshd_session_of(struct vmt_list *node);
