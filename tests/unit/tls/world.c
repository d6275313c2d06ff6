/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/tls/world.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/tls/tls_internal.h"
#include "tests/unit/test.h"

static void
side_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct tls_side *side = arg;

    assert_true(len > 0);
    assert_false(side->ended);
    side->total += len;
    if (!side->discard)
        assert_int_equal(vmt_buf_append(&side->got, data, len), 0);
    if (side->pause_in_data)
        side->s->ops->pause(side->s, true);
    if (side->close_in_data)
        stream_close(vmt_take_ptr(&side->s));
}

static void
side_on_drain(void *arg)
{
    struct tls_side *side = arg;

    side->drains++;
    if (side->close_in_drain)
        stream_close(vmt_take_ptr(&side->s));
}

static void
side_on_end(void *arg, int status)
{
    struct tls_side *side = arg;

    assert_false(side->ended);
    side->ended = true;
    side->status = status;
    if (side->close_in_end)
        stream_close(vmt_take_ptr(&side->s));
}

static const struct stream_handler side_handler = {side_on_data, side_on_drain,
                                                   side_on_end};

static void
side_on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct tls_side *side = arg;

    side->done = true;
    side->times++;
    side->handshake = NULL;
    if (!s) {
        side->err = *err;
        return;
    }
    assert_null(err);
    side->s = s;
    if (!side->no_handler)
        s->ops->set_handler(s, &side_handler, side);
}

int
tls_side_try(struct tls_side *side, struct tls_context *context, const char *name,
             const char *identity)
{
    int r;
    const struct tls_dial dial = {.lower = side->raw,
                                  .name = name,
                                  .identity = identity,
                                  .on_done = side_on_done,
                                  .arg = side};

    r = tls_handshake_start(context, &dial, &side->handshake, NULL);
    if (r == 0)
        side->below = vmt_take_ptr(&side->raw);
    assert_false(side->done); /* never from inside the call */
    return r;
}

void
tls_side_start(struct tls_side *side, struct tls_context *context, const char *name,
               const char *identity)
{
    assert_int_equal(tls_side_try(side, context, name, identity), 0);
}

static void
side_reset(struct tls_side *side, struct tls_world *w)
{
    tls_handshake_cancel(side->handshake);
    stream_close(side->s);
    stream_close(side->raw);
    vmt_buf_done(&side->got);
    memset(side, 0, sizeof(*side));
    side->w = w;
}

void
tls_world_reset(struct tls_world *w)
{
    side_reset(&w->c, w);
    side_reset(&w->s, w);
}

void
tls_world_wire(struct tls_world *w)
{
    struct stream *raw[2];

    tls_world_reset(w);
    assert_int_equal(fake_stream_pair(fake_clock_base(w->clock), raw), 0);
    w->c.raw = raw[0];
    w->s.raw = raw[1];
}

void
tls_world_run(struct tls_world *w)
{
    static const bool never = false;

    while (fake_clock_next_ms(w->clock) == 0)
        (void)fake_clock_run_until(w->clock, &never, 0);
}

void
tls_world_shake(struct tls_world *w)
{
    if (!w->c.raw)
        tls_world_wire(w);
    tls_side_start(&w->s, w->server, NULL, NULL);
    tls_side_start(&w->c, w->client, "vm.example", NULL);
    tls_world_run(w);
    assert_int_equal(w->c.times, 1);
    assert_int_equal(w->s.times, 1);
}

void
tls_world_connect(struct tls_world *w)
{
    tls_world_shake(w);
    if (!w->c.s || !w->s.s)
        fail_msg("client: %s, server: %s", vmt_err_text(&w->c.err),
                 vmt_err_text(&w->s.err));
}

void
tls_side_send(struct tls_side *side, const void *data, size_t len)
{
    assert_int_equal(side->s->ops->send(side->s, data, len, NULL, 0), 0);
}

bool
tls_stream_ask_for_key(struct stream *s)
{
    struct tls_stream *tls = VMT_CONTAINER_OF(s, struct tls_stream, base);

    return !tls->failed && !tls->shut &&
           SSL_key_update(tls->ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
           SSL_do_handshake(tls->ssl) == 1 && tls_flush(tls) == 0;
}

static struct tls_context *
world_context(struct tls_world *w, bool server, const struct cert *cert,
              const struct cert *ca)
{
    const struct tls_config config = {
        .server = server,
        .chain.pem = cert ? cert->pem : NULL,
        .key.pem = cert ? cert->text : NULL,
        .roots.pem = ca ? ca->pem : NULL,
        .clients = ca ? TLS_CLIENTS_VERIFIED : TLS_CLIENTS_ANONYMOUS,
    };
    struct tls_context *context;
    struct vmt_err err = {0};

    if (tls_context_new(fake_clock_base(w->clock), &config, &context, &err) < 0)
        fail_msg("%s", vmt_err_text(&err));
    return context;
}

struct tls_context *
tls_world_server(struct tls_world *w, const struct cert *cert, const struct cert *ca)
{
    return world_context(w, true, cert, ca);
}

struct tls_context *
tls_world_client(struct tls_world *w, const struct cert *cert, const struct cert *ca)
{
    return world_context(w, false, cert, ca);
}

int
tls_world_setup(void **state)
{
    static const struct cert_plan ca = {.cn = "authority", .ca = true};
    static const struct cert_plan server = {
        .cn = "server", .uri = "spiffe://test/server", .dns = "vm.example", .ip = "::1"};
    static const struct cert_plan client = {.cn = "client",
                                            .uri = "spiffe://test/client"};
    struct tls_world *w = calloc(1, sizeof(*w));

    w->clock = fake_clock_new();
    w->ca = cert_make(&ca, NULL);
    w->server_cert = cert_make(&server, &w->ca);
    w->client_cert = cert_make(&client, &w->ca);
    w->server = tls_world_server(w, &w->server_cert, &w->ca);
    w->client = tls_world_client(w, &w->client_cert, &w->ca);
    w->c.w = w->s.w = w;
    *state = w;
    return 0;
}

int
tls_world_teardown(void **state)
{
    struct tls_world *w = *state;

    tls_world_reset(w);
    tls_world_run(w);
    tls_context_free(w->server);
    tls_context_free(w->client);
    cert_done(&w->ca);
    cert_done(&w->server_cert);
    cert_done(&w->client_cert);
    /* Nothing may wait for what is gone. */
    assert_int_equal(fake_clock_pending(w->clock), 0);
    fake_clock_free(w->clock);
    free(w);
    return 0;
}
