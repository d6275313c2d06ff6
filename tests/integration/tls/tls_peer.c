/* SPDX-License-Identifier: BSD-3-Clause */
/* Our client or our server over TLS, for a stock peer at the other end. FOLDER holds
 * chain.pem, key.pem and roots.pem.
 *
 * tls_peer serve FOLDER IDENTITY     serves rpctest to IDENTITY, who is VM 50; prints
 *     "ready PORT", for each caller "caller CID IDENTITY", and after a SIGHUP "reloaded"
 *     or "kept: WHY"
 * tls_peer call FOLDER IDENTITY@HOST PORT METHOD [KEY=VALUE...]     see rpc_peer.h; first
 *     it prints "server IDENTITY" or "refused: WHY" */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/tls/tls.h"
#include "platform/linux/tls/transport_tls.h"
#include "tests/integration/rpc/rpc_peer.h"
#include "tests/unit/rpc/service.h"

#define VM 50

struct tls_peer {
    struct os_loop *loop;
    struct tls_context *context;
    struct transport *transport;
    struct rpc_server *server;
    struct rpctest test;
    struct stream *connected; /* by call */
    int argc;
    char **argv;
};

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct tls_peer *p = arg;

    (void)printf("caller %u %s\n", peer->cid, peer->identity);
    (void)fflush(stdout);
    rpc_server_accept(p->server, s, peer);
}

static void
on_hup(void *arg, int sig)
{
    struct tls_peer *p = arg;
    struct vmt_err err;

    (void)sig;
    if (tls_context_reload(p->context, &err) < 0)
        (void)printf("kept: %s\n", err.msg);
    else
        (void)puts("reloaded");
    (void)fflush(stdout);
}

static void
on_term(void *arg, int sig)
{
    (void)sig;
    os_loop_stop(((struct tls_peer *)arg)->loop, 0);
}

static int
peer_listen(struct tls_peer *p, struct vmt_err *err)
{
    struct transport_listener *listener;
    int r = -1;

    srand((unsigned)getpid());
    for (int tries = 0; r < 0 && tries < 50; tries++) {
        uint32_t port = 20000 + (uint32_t)rand() % 10000;

        r = p->transport->ops->listen(p->transport, port, on_accept, p, &listener, err);
        if (r == 0)
            (void)printf("ready %u\n", port);
    }
    (void)fflush(stdout);
    return r;
}

static int
peer_serve(struct tls_peer *p, struct vmt_err *err)
{
    int r = rpc_server_new(os_loop_clock(p->loop), NULL, &p->server, err);

    if (r == 0)
        r = rpc_server_add(p->server, &rpctest_service, &p->test, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGHUP, on_hup, p, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGTERM, on_term, p, err);
    if (r == 0)
        r = peer_listen(p, err);
    if (r == 0)
        (void)os_loop_run(p->loop);
    return r;
}

static void
on_connected(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct tls_peer *p = arg;
    struct stream_peer peer;

    if (!s) {
        (void)printf("refused: %s\n", err->msg);
        os_loop_stop(p->loop, 1);
        return;
    }
    s->ops->peer(s, &peer);
    (void)printf("server %s\n", peer.identity);
    p->connected = s;
    os_loop_stop(p->loop, 0);
}

static int
peer_call(struct tls_peer *p, struct vmt_err *err)
{
    const struct transport_dial dial = {.cid = VM,
                                        .port = (uint32_t)strtoul(p->argv[4], NULL, 10),
                                        .timeout_ms = 30000,
                                        .on_done = on_connected,
                                        .arg = p};
    struct transport_op *op;
    int r = p->transport->ops->connect(p->transport, &dial, &op, err);

    if (r == 0)
        r = os_loop_run(p->loop);
    return r == 0 ? rpc_peer_call(p->loop, p->connected, p->argc - 5, p->argv + 5) : r;
}

static int
peer_setup(struct tls_peer *p, bool server, struct vmt_err *err)
{
    char chain[256], key[256], roots[256], address[256];
    const struct tls_config config = {
        .server = server, .chain.path = chain, .key.path = key, .roots.path = roots};
    struct transport_tls_config transport = {0};
    int r;

    (void)snprintf(chain, sizeof(chain), "%s/chain.pem", p->argv[2]);
    (void)snprintf(key, sizeof(key), "%s/key.pem", p->argv[2]);
    (void)snprintf(roots, sizeof(roots), "%s/roots.pem", p->argv[2]);
    (void)snprintf(address, sizeof(address), "%s%s", p->argv[3], server ? "@" : "");
    r = tls_context_new(os_loop_clock(p->loop), &config, &p->context, err);
    if (server)
        transport.server = p->context;
    else
        transport.client = p->context;
    if (r == 0)
        r = transport_tls_new(p->loop, &transport, &p->transport, err);
    if (r == 0)
        r = p->transport->ops->vm_add(p->transport, VM, address, err);
    return r;
}

static void
peer_done(struct tls_peer *p)
{
    rpc_server_free(p->server);
    if (p->transport)
        p->transport->ops->free(p->transport);
    tls_context_free(p->context);
    os_loop_free(p->loop);
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(peer_done) struct tls_peer p = {.argc = argc, .argv = argv};
    bool server = argc == 4 && strcmp(argv[1], "serve") == 0;
    struct vmt_err err = {0};
    int r;

    os_process_init();
    if (!server && (argc < 6 || strcmp(argv[1], "call") != 0)) {
        (void)fprintf(stderr, "usage: tls_peer serve FOLDER IDENTITY\n"
                              "       tls_peer call FOLDER IDENTITY@HOST PORT METHOD "
                              "[KEY=VALUE...]\n");
        return 2;
    }
    r = os_loop_new(&p.loop, &err);
    if (r == 0)
        r = peer_setup(&p, server, &err);
    if (r == 0)
        r = server ? peer_serve(&p, &err) : peer_call(&p, &err);
    if (r < 0)
        (void)fprintf(stderr, "tls_peer: %s\n", vmt_err_text(&err));
    return r < 0 ? 1 : r;
}
