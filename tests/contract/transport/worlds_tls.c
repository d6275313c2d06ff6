/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/worlds_tls.c - TCP with TLS: one certificate for each side,
 * both at one address. */
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/ssl.h>

#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/tls/tls.h"
#include "platform/linux/tls/transport_tls.h"
#include "tests/contract/transport/worlds.h"
#include "tests/unit/tls/certs.h"

struct tls_own {
    struct cert ca, vm, host;
    struct tls_context *server[2], *client[2]; /* of the host, of the guest */
};

static struct tls_context *
make_context(struct real_world *self, const struct cert *cert, bool server)
{
    struct tls_own *own = self->own;
    const struct tls_config config = {.server = server,
                                      .chain.pem = cert->pem,
                                      .key.pem = cert->text,
                                      .roots.pem = own->ca.pem};
    struct tls_context *context;

    if (tls_context_new(os_loop_clock(self->loop), &config, &context, NULL) < 0)
        abort();
    return context;
}

static struct transport *
make_side(struct real_world *self, const struct cert *cert, int side)
{
    struct tls_own *own = self->own;
    struct transport_tls_config config;
    struct transport *t;

    own->server[side] = make_context(self, cert, true);
    own->client[side] = make_context(self, cert, false);
    config = (struct transport_tls_config){own->server[side], own->client[side], NULL};
    if (transport_tls_new(self->loop, &config, &t, NULL) < 0)
        abort();
    return t;
}

static void
own_done(struct real_world *self)
{
    struct tls_own *own = self->own;

    for (int i = 0; i < 2; i++) {
        tls_context_free(own->server[i]);
        tls_context_free(own->client[i]);
    }
    cert_done(&own->ca);
    cert_done(&own->vm);
    cert_done(&own->host);
    free(own);
}

/* The kernel accepts for nobody: it is the handshake that hangs. */
static void
tls_set_hung(struct contract_world *w, bool hung)
{
    (void)hung;
    tcp_world_hang(w, 16);
}

/* A program that is not ours, with the guest's certificate. */
static void
tls_speak_and_wait(struct contract_world *w, uint32_t port)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    struct tls_own *own = VMT_CONTAINER_OF(w, struct real_world, base)->own;
    struct sockaddr_in to = tcp_world_address(port);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL *ssl;

    if (SSL_CTX_use_certificate(ctx, own->vm.x509) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, own->vm.key) != 1 ||
        SSL_CTX_set_alpn_protos(ctx, h2, sizeof(h2)) != 0 ||
        connect(fd, (struct sockaddr *)(void *)&to, sizeof(to)) < 0)
        return;
    ssl = SSL_new(ctx);
    if (SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1 &&
        SSL_write(ssl, "alive", 5) == 5)
        real_world_wait(-1);
}

struct contract_world *
contract_world_tls(void)
{
    const int64_t now = time(NULL), from = now - 3600, until = now + 24 * 3600;
    struct real_world *self = real_world_new();
    struct tls_own *own = calloc(1, sizeof(*own));

    if (!self || !own)
        abort();
    self->own = own;
    self->done = own_done;
    own->ca = cert_make(
        &(struct cert_plan){.cn = "ca", .ca = true, .from = from, .until = until}, NULL);
    own->vm = cert_make(
        &(struct cert_plan){.uri = "spiffe://contract/vm", .from = from, .until = until},
        &own->ca);
    own->host = cert_make(&(struct cert_plan){.uri = "spiffe://contract/host",
                                              .from = from,
                                              .until = until},
                          &own->ca);
    self->base.vm_cid = 33;
    self->base.host_cid = VMT_CID_HOST;
    self->base.vm_address = "spiffe://contract/vm@127.0.0.1";
    self->base.host_address = "spiffe://contract/host@127.0.0.1";
    self->base.identity = "spiffe://contract/vm";
    self->base.peer_kind = STREAM_PEER_TLS;
    self->base.tells_cuts = true;
    self->base.port = 20000 + (uint32_t)rand() % 20000;
    self->base.set_hung = tls_set_hung;
    self->base.speak_and_wait = tls_speak_and_wait;
    self->base.host = make_side(self, &own->host, 0);
    self->base.guest = make_side(self, &own->vm, 1);
    return &self->base;
}
