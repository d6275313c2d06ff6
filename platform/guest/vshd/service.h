/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/service.h - all sessions of one vshd.
 *
 * One process serves all sessions from its loop. Whoever reaches it may run commands as
 * any user anyway, so a process per session would separate nobody from anything, and the
 * one parser between the wire and the loop is core/vsh. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

struct os_loop;
struct stream;
struct vmt_err;
struct vshd_service;

struct vshd_config {
    const char *default_user; /* for sessions of the VM that name none; borrowed */
    bool allow_to_switch_user;
    bool inherit_env;
    struct rlimit nofile; /* for the commands: what we were started with */
    /* Runs from the loop whenever a session is gone. May be NULL. */
    void (*on_session_end)(void *arg);
    void *arg; /* borrowed for the life of the service */
};

/* config is copied. Children are reaped by the service from now on. */
int vshd_service_new(struct os_loop *loop, const struct vshd_config *config,
                     struct vshd_service **ret_service, struct vmt_err *err);
/* Ends all sessions: their process groups get SIGHUP. */
void vshd_service_free(struct vshd_service *service);

/* Serve one session on stream, which the service owns from now on. */
void vshd_service_accept(struct vshd_service *service, struct stream *stream);
