/* SPDX-License-Identifier: BSD-3-Clause */
/* Our client or our server on a unix socket, for a stock peer at the other end.
 *
 * rpc_peer serve SOCKET [gzip]
 *     Prints "ready", and on SIGTERM what it saw. With gzip it compresses its replies.
 *     SIGUSR1 and SIGUSR2 say that the test service is not serving, and is.
 *
 * rpc_peer call SOCKET METHOD [KEY=VALUE...]
 *     See rpc_peer.h. */
#include "tests/integration/rpc/rpc_peer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/rpc/health.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/unix_socket.h"
#include "tests/unit/rpc/service.h"

static void
peer_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    rpc_server_accept(arg, s, peer);
}

static void
peer_on_term(void *arg, int sig)
{
    (void)sig;
    os_loop_stop(arg, 0);
}

static void
peer_on_sick(void *arg, int sig)
{
    (void)sig;
    (void)rpc_health_set(arg, rpctest_service.name, RPC_HEALTH_NOT_SERVING);
}

static void
peer_on_well(void *arg, int sig)
{
    (void)sig;
    (void)rpc_health_set(arg, rpctest_service.name, RPC_HEALTH_SERVING);
}

static int
peer_serve(struct os_loop *loop, const char *path, bool gzip, struct vmt_err *err)
{
    struct os_listener *listener = NULL;
    struct rpc_server *server = NULL;
    struct rpctest test = {.encoding = gzip ? RPC_GZIP : RPC_IDENTITY};
    int fd, r;

    r = rpc_server_new(os_loop_clock(loop), NULL, &server, err);
    if (r == 0)
        r = rpc_server_add(server, &rpctest_service, &test, err);
    if (r == 0)
        r = rpc_server_add_standard(server, err);
    if (r == 0)
        r = os_unix_listen(path, 0600, 16, &fd, err);
    if (r == 0)
        r = os_listener_new(loop, fd, NULL, peer_on_accept, server, &listener, err);
    if (r == 0)
        r = os_loop_on_signal(loop, SIGTERM, peer_on_term, loop, err);
    if (r == 0)
        r = os_loop_on_signal(loop, SIGUSR1, peer_on_sick, server, err);
    if (r == 0)
        r = os_loop_on_signal(loop, SIGUSR2, peer_on_well, server, err);
    if (r == 0) {
        (void)puts("ready");
        (void)fflush(stdout);
        (void)os_loop_run(loop);
        (void)printf("%zu requests, %zu cancelled, %zu compressed\n", test.requests,
                     test.cancels, test.compressed);
    }
    os_listener_free(listener);
    rpc_server_free(server);
    return r;
}

static int
peer_call(struct os_loop *loop, int argc, char **argv, struct vmt_err *err)
{
    struct stream *stream;
    int fd;
    int r = os_unix_connect(argv[2], &fd, err);

    if (r < 0)
        return r;
    r = os_stream_new(loop, fd, NULL, &stream, err);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    return rpc_peer_call(loop, stream, argc - 3, argv + 3);
}

VMT_DEFINE_FREEP(struct os_loop, os_loop_free)

int
main(int argc, char **argv)
{
    VMT_CLEANUP(os_loop_freep) struct os_loop *loop = NULL;
    struct vmt_err err = {0};
    int r;

    os_process_init();
    if (argc < 3) {
        (void)fprintf(stderr, "usage: rpc_peer serve SOCKET [gzip]\n"
                              "       rpc_peer call SOCKET METHOD [KEY=VALUE...]\n");
        return 2;
    }
    r = os_loop_new(&loop, &err);
    if (r == 0)
        r = strcmp(argv[1], "serve") == 0 ? peer_serve(loop, argv[2], argc > 3, &err)
                                          : peer_call(loop, argc, argv, &err);
    if (r < 0)
        (void)fprintf(stderr, "rpc_peer: %s\n", vmt_err_text(&err));
    return r < 0 ? 1 : r;
}
