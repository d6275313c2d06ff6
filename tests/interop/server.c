/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/server.c - grpc_interop_server: grpc.testing.TestService on core/rpc.
 * Prints "listening on port N" to stdout when clients may come; ends on SIGTERM and
 * SIGINT. The flags are those of the official servers. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/tls/tls.h"
#include "tests/interop/creds.h"
#include "tests/interop/flags.h"
#include "tests/interop/net.h"
#include "tests/interop/secure.h"
#include "tests/interop/service.h"

#define CONNECTIONS_MAX 4096
/* A stock client sends all its calls at once. */
#define STREAMS_MAX 1000

struct options {
    uint16_t port;
    const char *host, *cert, *key;
    bool use_tls;
};

/* Pointers owned, NULL until they are there. */
struct program {
    struct os_loop *loop;
    struct rpc_server *server;
    struct secure *secure; /* with --use_tls */
    struct os_listener *listeners[NET_LISTEN_MAX];
    size_t nlisteners;
    struct net_sockets sockets; /* those without a listener yet */
    struct interop interop;
};

static void
program_done(struct program *p)
{
    for (size_t i = 0; i < p->nlisteners; i++)
        os_listener_free(p->listeners[i]);
    net_close(&p->sockets);
    secure_free(p->secure);
    rpc_server_free(p->server);
    os_loop_free(p->loop);
}

static void
program_serve(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct program *p = arg;

    rpc_server_accept(p->server, s, peer);
}

static void
program_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct program *p = arg;

    if (p->secure)
        secure_accept(p->secure, s);
    else
        program_serve(p, s, peer);
}

static void
program_on_signal(void *arg, int sig)
{
    struct program *p = arg;

    (void)sig;
    os_loop_stop(p->loop, 0);
}

static int
program_listen(struct program *p, const struct options *options, struct vmt_err *err)
{
    static const struct stream_peer peer = {.kind = STREAM_PEER_TCP};
    int r = net_listen(options->host, options->port, &p->sockets, err);

    for (size_t i = 0; r == 0 && i < p->sockets.n; i++) {
        r = os_listener_new(p->loop, p->sockets.fds[i], &peer, program_on_accept, p,
                            &p->listeners[i], err);
        if (r == 0) {
            p->sockets.fds[i] = -1;
            p->nlisteners++;
        }
    }
    return r;
}

static int
program_secure(struct program *p, const struct options *options, struct vmt_err *err)
{
    const bool own = options->cert || options->key;
    const struct tls_source chain = {options->cert, own ? NULL : interop_cert_pem};
    const struct tls_source key = {options->key, own ? NULL : interop_key_pem};

    if (!options->use_tls)
        return 0;
    if (own && (!options->cert || !options->key))
        return vmt_err_setx(err, EINVAL,
                            "--tls_cert_file and --tls_key_file go together");
    return secure_new(os_loop_clock(p->loop), &chain, &key, program_serve, p, &p->secure,
                      err);
}

static int
program_start(struct program *p, const struct options *options, struct vmt_err *err)
{
    const struct rpc_server_config config = {.connections_max = CONNECTIONS_MAX,
                                             .streams_max = STREAMS_MAX};
    int r = os_loop_new(&p->loop, err);

    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGTERM, program_on_signal, p, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGINT, program_on_signal, p, err);
    if (r == 0)
        r = rpc_server_new(os_loop_clock(p->loop), &config, &p->server, err);
    if (r < 0)
        return r;
    p->interop.clock = os_loop_clock(p->loop);
    (void)snprintf(p->interop.server_id, sizeof(p->interop.server_id), "vmt-%d",
                   (int)getpid());
    r = rpc_server_add(p->server, &interop_service, &p->interop, err);
    if (r == 0)
        r = rpc_server_add_standard(p->server, err);
    if (r == 0)
        r = program_secure(p, options, err);
    return r == 0 ? program_listen(p, options, err) : r;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(program_done) struct program p = {0};
    struct options options = {.port = 10000};
    const struct flag flags[] = {
        {.name = "port", .port = &options.port, .help = "port; 0: any (10000)"},
        {.name = "use_tls", .is_set = &options.use_tls, .help = "speak TLS 1.3 (false)"},
        {.name = "tls_cert_file",
         .text = &options.cert,
         .help = "our certificate and those that signed it, PEM (the one for tests)"},
        {.name = "tls_key_file", .text = &options.key, .help = "its private key, PEM"},
        {.name = "host", .text = &options.host, .help = "name to listen at (all)"},
    };
    struct vmt_err err = {0};
    int r;

    os_process_init();
    os_raise_nofile();
    vmt_log_init("grpc_interop_server", NULL, NULL);
    r = flags_parse(flags, VMT_ARRAY_SIZE(flags), argc, argv);
    if (r != 0)
        return r < 0 ? 2 : 0;
    if (program_start(&p, &options, &err) < 0) {
        vmt_log_error("%s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    (void)printf("listening on port %u\n", p.sockets.port);
    (void)fflush(stdout);
    return os_loop_run(p.loop);
}
