/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/scale_guests.c - the agents of all guests of bench/scale, in one process.
 *
 *   bench_scale_guests SOCKET
 *
 * Each connection to SOCKET is a VM: it brings the VM's directory and the listening
 * socket in it, and the guest lives as long as the connection. Prints a newline when it
 * listens.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/unix_socket.h"
#include "vm_guest.pb-c.h"

#define GUESTS_MAX 8192
#define READY_MS 60000u

struct guests {
    struct os_loop *loop;
    struct rpc_server *agents; /* one server plays the agent of every guest */
};

struct guest {
    struct guests *all;  /* borrowed */
    struct stream *life; /* owned: the companion */
    struct os_listener *door;
    struct rpc_client *host; /* owned: to the StartupListener, until it answered */
};

/* A connection of the host that has not said CONNECT yet. */
struct caller {
    struct guests *all;
    struct stream *s; /* owned */
};

static void
die(const char *what)
{
    (void)fprintf(stderr, "bench_scale_guests: %s\n", what);
    exit(EXIT_FAILURE);
}

static void
handle_any(void *ctx, struct rpc_server_call *call,
           const struct ProtobufCMessage *request)
{
    VmTools__EmptyMessage reply = VM_TOOLS__EMPTY_MESSAGE__INIT;

    (void)ctx, (void)request;
    rpc_server_call_reply(call, &reply.base);
}

#define ROW(name, type)                                                                  \
    {                                                                                    \
        name, &vm_tools__##type##__descriptor, handle_any, false, false                  \
    }
/* Without Shutdown: the host goes on to the next step of a stop at once. */
static const struct rpc_server_method methods[] = {
    ROW("ConfigureNetwork", network_config_request),
    ROW("SetResolvConfig", set_resolv_config_request),
    ROW("SetTime", set_time_request),
    ROW("SetTimezone", set_timezone_request),
    ROW("ConfigureContainerGuest", configure_container_guest_request),
};
static const struct rpc_server_service service = {
    .name = "vm_tools.Maitred", .methods = methods, .nmethods = VMT_ARRAY_SIZE(methods)};

static void
caller_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct caller *c = arg;
    struct stream *s = vmt_take_ptr(&c->s);

    if (len < 8 || memcmp(data, "CONNECT ", 8) != 0 || data[len - 1] != '\n')
        die("the host does not say CONNECT");
    s->ops->set_handler(s, NULL, NULL);
    (void)s->ops->send(s, "OK 1\n", 5, NULL, 0);
    rpc_server_accept(c->all->agents, s, NULL);
    free(c);
}

static void
caller_on_end(void *arg, int status)
{
    struct caller *c = arg;

    (void)status;
    stream_close(c->s);
    free(c);
}

static const struct stream_handler caller_handler = {.on_data = caller_on_data,
                                                     .on_end = caller_on_end};

static void
on_caller(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct guest *g = arg;
    struct caller *c = calloc(1, sizeof(*c));

    (void)peer;
    if (!c)
        die("out of memory");
    c->all = g->all;
    c->s = s;
    s->ops->set_handler(s, &caller_handler, c);
}

static void
on_ready_answered(void *arg, const struct rpc_status *status)
{
    struct guest *g = arg;

    if (status->code != RPC_OK)
        die(status->text);
    rpc_client_free(g->host);
    g->host = NULL;
}

static const struct rpc_client_handler ready_handler = {.on_done = on_ready_answered};

static void
call_ready(struct guest *g, const char *dir)
{
    const struct rpc_client_config config = {0};
    const struct rpc_client_request request = {
        .path = "/vm_tools.StartupListener/VmReady",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = READY_MS,
        .handler = &ready_handler,
        .arg = g,
    };
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;
    struct stream *s = NULL;
    char path[256];
    int fd = -1;

    (void)snprintf(path, sizeof(path), "%s/vsock_7777", dir);
    if (os_unix_connect(path, &fd, NULL) < 0 ||
        os_stream_new(g->all->loop, fd, NULL, &s, NULL) < 0 ||
        rpc_client_new(os_loop_clock(g->all->loop), s, &config, &g->host, NULL) < 0 ||
        rpc_client_start(g->host, &request, &message.base, NULL, NULL) < 0)
        die("VmReady cannot be called");
}

static void
life_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct guest *g = arg;
    char dir[200];
    int fd;

    if (g->door || len >= sizeof(dir) || g->life->ops->take_fds(g->life, &fd, 1) != 1)
        die("a VM came without its socket");
    memcpy(dir, data, len);
    dir[len] = '\0';
    if (os_listener_new(g->all->loop, fd, NULL, on_caller, g, &g->door, NULL) < 0)
        die("a VM's socket does not listen");
    call_ready(g, dir);
}

static void
life_on_end(void *arg, int status)
{
    struct guest *g = arg;

    (void)status;
    stream_close(g->life);
    rpc_client_free(g->host);
    if (g->door)
        os_listener_free(g->door);
    free(g);
}

static const struct stream_handler life_handler = {.on_data = life_on_data,
                                                   .on_end = life_on_end};

static void
on_vm(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct guest *g = calloc(1, sizeof(*g));

    (void)peer;
    if (!g)
        die("out of memory");
    g->all = arg;
    g->life = s;
    s->ops->set_handler(s, &life_handler, g);
}

static void
on_term(void *arg, int sig)
{
    (void)sig;
    os_loop_stop(arg, 0);
}

int
main(int argc, char **argv)
{
    const struct rpc_server_config config = {.connections_max = GUESTS_MAX};
    struct guests all = {0};
    struct os_listener *listener = NULL;
    int fd = -1;

    os_process_init();
    vmt_log_init("bench_scale_guests", NULL, NULL);
    os_raise_nofile();
    if (argc != 2)
        die("usage: bench_scale_guests SOCKET");
    if (os_loop_new(&all.loop, NULL) < 0 ||
        rpc_server_new(os_loop_clock(all.loop), &config, &all.agents, NULL) < 0 ||
        rpc_server_add(all.agents, &service, NULL, NULL) < 0 ||
        os_unix_listen(argv[1], 0600, GUESTS_MAX, &fd, NULL) < 0 ||
        os_listener_new(all.loop, fd, NULL, on_vm, &all, &listener, NULL) < 0 ||
        os_loop_on_signal(all.loop, SIGTERM, on_term, all.loop, NULL) < 0)
        die("cannot listen");
    (void)puts("");
    (void)fflush(stdout);
    (void)os_loop_run(all.loop);
    os_listener_free(listener);
    rpc_server_free(all.agents);
    os_loop_free(all.loop);
    return EXIT_SUCCESS;
}
