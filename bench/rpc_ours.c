/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/rpc_ours.c - core/rpc as a server on 127.0.0.1, for bench/rpc.
 * Usage: bench_rpc_ours PORT; ends on SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/rpc/server.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/transports.h"

#include "echo.pb-c.h"

/* More idle connections than bench/rpc opens. */
#define CONNECTIONS_MAX 4096

/* Each member owned; NULL until it is there. */
struct program {
    struct os_loop *loop;
    struct transport *tcp;
    struct transport_listener *listener;
    struct rpc_server *server;
};

static void
program_done(struct program *p)
{
    if (p->listener)
        p->tcp->ops->unlisten(p->listener);
    rpc_server_free(p->server);
    if (p->tcp)
        p->tcp->ops->free(p->tcp);
    os_loop_free(p->loop);
}

static void
on_unary(void *ctx, struct rpc_server_call *call, const struct ProtobufCMessage *request)
{
    (void)ctx;
    rpc_server_call_reply(call, request);
}

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct program *p = arg;

    rpc_server_accept(p->server, s, peer);
}

static void
on_terminate(void *arg, int sig)
{
    struct program *p = arg;

    (void)sig;
    os_loop_stop(p->loop, 0);
}

static int
program_start(struct program *p, uint32_t port, struct vmt_err *err)
{
    static const struct rpc_server_method methods[] = {
        {.name = "Unary",
         .request = &vmt__bench__payload__descriptor,
         .handle = on_unary},
    };
    static const struct rpc_server_service service = {
        .name = "vmt.bench.Echo", .methods = methods, .nmethods = 1};
    const struct rpc_server_config config = {.connections_max = CONNECTIONS_MAX};
    int r = os_loop_new(&p->loop, err);

    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGTERM, on_terminate, p, err);
    if (r == 0)
        r = rpc_server_new(os_loop_clock(p->loop), &config, &p->server, err);
    if (r == 0)
        r = rpc_server_add(p->server, &service, NULL, err);
    if (r == 0)
        r = transport_tcp_new(p->loop, NULL, &p->tcp, err);
    /* The transport lets nobody in but VMs: the load generator is one. */
    if (r == 0)
        r = p->tcp->ops->vm_add(p->tcp, VMT_CID_GUEST_MIN, "127.0.0.1", err);
    if (r == 0)
        r = p->tcp->ops->listen(p->tcp, port, on_accept, p, &p->listener, err);
    return r;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(program_done) struct program p = {0};
    struct vmt_err err = {0};
    uint64_t port = 0;

    os_process_init();
    os_raise_nofile();
    vmt_log_init("bench_rpc_ours", NULL, NULL);
    if (argc != 2 || vmt_parse_u64(argv[1], UINT16_MAX, &port) < 0) {
        (void)fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (program_start(&p, (uint32_t)port, &err) < 0) {
        vmt_log_error("%s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    return os_loop_run(p.loop);
}
