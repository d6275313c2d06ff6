/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/connector.c - shake hands over what another connector connects. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/connector.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/tls/tls_internal.h"
#include "platform/linux/tls/transport_tls.h"

struct tls_connector {
    struct connector base;
    struct tls_context *context; /* borrowed */
    struct connector *lower;     /* owned */
    char *name, *identity;       /* owned; NULL: does not matter */
    struct tls_handshake *handshake;
    uint64_t due_ms;
    connector_done_fn *on_done;
    void *arg; /* borrowed */
};

static struct tls_connector *
self_of(struct connector *base)
{
    return VMT_CONTAINER_OF(base, struct tls_connector, base);
}

static void
on_tls(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct tls_connector *c = arg;

    c->handshake = NULL;
    c->on_done(c->arg, s, err);
}

static void
on_lower(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct tls_connector *c = arg;
    struct vmt_clock *clock = c->context->clock;
    uint64_t now = clock->ops->now_ms(clock);
    const struct tls_dial dial = {
        .lower = s,
        .name = c->name,
        .identity = c->identity,
        .timeout_ms = now < c->due_ms ? (unsigned)(c->due_ms - now) : 1,
        .on_done = on_tls,
        .arg = c,
    };
    struct vmt_err why;

    if (!s) {
        c->on_done(c->arg, NULL, err);
        return;
    }
    if (tls_handshake_start(c->context, &dial, &c->handshake, &why) == 0)
        return;
    stream_close(s);
    c->on_done(c->arg, NULL, &why);
}

static int
tls_connector_connect(struct connector *base, unsigned timeout_ms,
                      connector_done_fn *on_done, void *arg, struct vmt_err *err)
{
    struct tls_connector *c = self_of(base);
    struct vmt_clock *clock = c->context->clock;

    c->on_done = on_done;
    c->arg = arg;
    c->due_ms = clock->ops->now_ms(clock) + timeout_ms;
    return c->lower->ops->connect(c->lower, timeout_ms, on_lower, c, err);
}

static void
tls_connector_cancel(struct connector *base)
{
    struct tls_connector *c = self_of(base);

    c->lower->ops->cancel(c->lower);
    tls_handshake_cancel(vmt_take_ptr(&c->handshake));
}

static void
tls_connector_free(struct connector *base)
{
    struct tls_connector *c = self_of(base);

    tls_handshake_cancel(c->handshake);
    connector_free(c->lower);
    free(c->name);
    free(c->identity);
    free(c);
}

static const struct connector_ops tls_connector_ops = {
    .connect = tls_connector_connect,
    .cancel = tls_connector_cancel,
    .free = tls_connector_free,
};

int
tls_connector_new(struct tls_context *context, struct connector *lower, const char *name,
                  const char *identity, struct connector **ret_connector,
                  struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *name_copy = name ? strdup(name) : NULL;
    VMT_CLEANUP(vmt_freep) char *identity_copy = identity ? strdup(identity) : NULL;
    struct tls_connector *c = NULL;

    if (!name && !identity)
        return vmt_err_setx(err, EINVAL, "TLS to nobody in particular");
    if ((name && !name_copy) || (identity && !identity_copy) ||
        !(c = calloc(1, sizeof(*c))))
        return vmt_err_set(err, ENOMEM, "prepare to connect by TLS");
    c->base.ops = &tls_connector_ops;
    c->context = context;
    c->lower = lower;
    c->name = vmt_take_ptr(&name_copy);
    c->identity = vmt_take_ptr(&identity_copy);
    *ret_connector = &c->base;
    return 0;
}
