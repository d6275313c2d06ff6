/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/forward.h - sockets of host and guest that stand for each other, for
 * as long as a session lasts: -L, -R and -A. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/vsh/forward.h"

struct os_loop;
struct vmt_err;
struct vsh_endpoint;
struct vsh_forward;

struct vsh_forward_config {
    const char *program;                   /* begins the lines on stderr; borrowed */
    const struct vsh_endpoint *endpoint;   /* borrowed */
    const char *user;                      /* in the guest; borrowed */
    const struct vsh_forward_spec *local;  /* -L, nlocal of them; borrowed */
    const struct vsh_forward_spec *remote; /* -R, nremote of them; borrowed */
    size_t nlocal, nremote;
    const char *agent; /* path of our agent's socket, or NULL; borrowed */
};

/* Listen at our side, but do not accept yet, and look up the names that -R connects to.
 * May block on that. All of config is borrowed for the life of the object. Returns 0, or
 * -errno with words. */
int vsh_forward_new(struct os_loop *loop, const struct vsh_forward_config *config,
                    struct vsh_forward **ret_forward, struct vmt_err *err);
/* Ends all connections and removes what listens. NULL is legal. */
void vsh_forward_free(struct vsh_forward *forward);

/* Ask for the listeners of the guest's side; the list is borrowed from forward. */
void vsh_forward_fill(const struct vsh_forward *forward, struct vsh_request *request);
/* The session is there, with these VSH_FEATURE_ bits: accept. May be called again for a
 * session that replaces a lost one. Returns 0, or -ENOTSUP when
 * the guest's vshd knows nothing of it. */
int vsh_forward_ready(struct vsh_forward *forward, uint32_t features,
                      struct vmt_err *err);
/* See vsh_client_ops; arg is the forward. */
void vsh_forward_on_listening(struct vsh_forward *forward, size_t listener,
                              const struct vsh_address *address);
void vsh_forward_on_accepted(struct vsh_forward *forward, uint32_t listener,
                             const uint8_t *token);
