/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/session.h - one client, one command. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "core/base/list.h"

struct os_loop;
struct stream;
struct vshd_config;
struct vshd_session;

/* The session has come to its end and may be freed, but not from inside this call. */
typedef void vshd_session_done_fn(void *arg, struct vshd_session *session);

struct vshd_session_config {
    struct os_loop *loop;             /* borrowed */
    const struct vshd_config *config; /* borrowed */
    const char *refuse;               /* NULL, or words for every request; borrowed */
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

/* For the list that the session is in. */
struct vmt_list *vshd_session_node(struct vshd_session *session);
struct vshd_session *vshd_session_of(struct vmt_list *node);
