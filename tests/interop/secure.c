/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/secure.h"

#include <errno.h>
#include <stdlib.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "platform/linux/tls/tls.h"

struct secure {
    struct tls_context *context; /* owned */
    struct vmt_list handshakes;  /* struct arrival, owned */
    secure_accept_fn *fn;
    void *arg; /* borrowed */
};

/* A connection whose handshake is under way. */
struct arrival {
    struct secure *secure; /* borrowed */
    struct tls_handshake *handshake;
    struct vmt_list node;
};

static void
arrival_on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct arrival *arrival = arg;
    struct secure *secure = arrival->secure;
    struct stream_peer peer = {0};

    vmt_list_remove(&arrival->node);
    free(arrival);
    if (!s) {
        vmt_log_info("handshake failed: %s", vmt_err_text(err));
        return;
    }
    s->ops->peer(s, &peer);
    secure->fn(secure->arg, s, &peer);
}

int
secure_new(struct vmt_clock *clock, const struct tls_source *chain,
           const struct tls_source *key, secure_accept_fn *fn, void *arg,
           struct secure **ret_secure, struct vmt_err *err)
{
    const struct tls_config config = {
        .server = true, .clients = TLS_CLIENTS_ANONYMOUS, .chain = *chain, .key = *key};
    VMT_CLEANUP(vmt_freep) struct secure *secure = calloc(1, sizeof(*secure));
    int r;

    if (!secure)
        return vmt_err_set(err, ENOMEM, "set up TLS");
    r = tls_context_new(clock, &config, &secure->context, err);
    if (r < 0)
        return r;
    vmt_list_init(&secure->handshakes);
    secure->fn = fn;
    secure->arg = arg;
    *ret_secure = vmt_take_ptr(&secure);
    return 0;
}

void
secure_free(struct secure *secure)
{
    if (!secure)
        return;
    VMT_LIST_FOREACH(node, next, &secure->handshakes)
    {
        struct arrival *arrival = VMT_CONTAINER_OF(node, struct arrival, node);

        vmt_list_remove(node);
        tls_handshake_cancel(arrival->handshake);
        free(arrival);
    }
    tls_context_free(secure->context);
    free(secure);
}

void
secure_accept(struct secure *secure, struct stream *s)
{
    VMT_CLEANUP(vmt_freep) struct arrival *arrival = calloc(1, sizeof(*arrival));
    const struct tls_dial dial = {.lower = s, .on_done = arrival_on_done, .arg = arrival};
    struct vmt_err err = {0};

    if (!arrival ||
        tls_handshake_start(secure->context, &dial, &arrival->handshake, &err) < 0) {
        vmt_log_info("no handshake: %s", vmt_err_text(&err));
        stream_close(s);
        return;
    }
    arrival->secure = secure;
    vmt_list_append(&secure->handshakes, &arrival->node);
    (void)vmt_take_ptr(&arrival);
}
