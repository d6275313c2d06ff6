/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/connector.h - how a stream to one peer comes about, as often as needed. */
#pragma once

struct connector;
struct stream;
struct vmt_err;

/* Runs exactly once unless the attempt is cancelled, from the loop. On success s is the
 * callee's and err is NULL; on failure s is NULL and err, borrowed for the call, says
 * why. The connector may be freed, or connect again, from inside. */
typedef void connector_done_fn(void *arg, struct stream *s, const struct vmt_err *err);

struct connector_ops {
    /* Start connecting, one attempt at a time. It ends after timeout_ms (at least 1) at
     * the latest, with whatever handshake belongs to it. arg is borrowed until on_done or
     * cancel. Returns 0 or -errno, then on_done does not run. */
    int (*connect)(struct connector *c, unsigned timeout_ms, connector_done_fn *on_done,
                   void *arg, struct vmt_err *err);
    /* Give the attempt up, if there is one: on_done will not run any more. */
    void (*cancel)(struct connector *c);
    void (*free)(struct connector *c); /* cancels */
};

struct connector {
    const struct connector_ops *ops;
};

static inline void
connector_free(struct connector *c)
{
    if (c)
        c->ops->free(c);
}
