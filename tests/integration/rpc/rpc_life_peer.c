/* SPDX-License-Identifier: BSD-3-Clause */
/* Our server or our client, with every time of a connection's life set from outside.
 *
 * rpc_life_peer serve SOCKET [KEY=VALUE...]
 *     Prints "ready"; on SIGTERM it drains, and prints how many connections and requests
 *     there were. Keys: fields of struct rpc_server_config, and grace (of the drain).
 *
 * rpc_life_peer call SOCKET [KEY=VALUE...]
 *     Calls Hang and prints what happens until the connection is closed. Keys: fields of
 *     struct rpc_client_config. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/unix_socket.h"
#include "tests/unit/rpc/service.h"

struct life {
    struct os_loop *loop;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpc_server_config serve;
    struct rpc_client_config call;
    uint32_t grace, ping_always, ask_always;
    size_t connections;
};

static int
life_set(struct life *life, const char *word)
{
    const struct {
        const char *key;
        uint32_t *value;
    } keys[] = {
        {"idle_ms", &life->serve.idle_ms},
        {"age_ms", &life->serve.age_ms},
        {"age_grace_ms", &life->serve.age_grace_ms},
        {"ping_min_ms", &life->serve.ping_min_ms},
        {"ping_strikes", &life->serve.ping_strikes},
        {"ping_without_calls", &life->ping_always},
        {"server_keepalive_ms", &life->serve.keepalive_ms},
        {"server_keepalive_timeout_ms", &life->serve.keepalive_timeout_ms},
        {"grace", &life->grace},
        {"keepalive_ms", &life->call.keepalive_ms},
        {"keepalive_timeout_ms", &life->call.keepalive_timeout_ms},
        {"keepalive_without_calls", &life->ask_always},
    };
    size_t len = strcspn(word, "=");

    for (size_t i = 0; i < VMT_ARRAY_SIZE(keys); i++) {
        if (strlen(keys[i].key) != len || memcmp(keys[i].key, word, len) != 0 ||
            word[len] != '=')
            continue;
        *keys[i].value = (uint32_t)strtoul(word + len + 1, NULL, 10);
        return 0;
    }
    (void)fprintf(stderr, "rpc_life_peer: what is %s?\n", word);
    return -1;
}

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct life *life = arg;

    life->connections++;
    rpc_server_accept(life->server, s, peer);
}

static void
on_drained(void *arg)
{
    os_loop_stop(((struct life *)arg)->loop, 0);
}

static void
on_term(void *arg, int sig)
{
    struct life *life = arg;

    (void)sig;
    if (rpc_server_drain(life->server, life->grace, on_drained, life, NULL) < 0)
        os_loop_stop(life->loop, 1);
}

static int
life_serve(struct life *life, const char *path, struct vmt_err *err)
{
    struct os_listener *listener = NULL;
    struct rpctest test = {0};
    int fd, r;

    life->serve.ping_without_calls = life->ping_always > 0;
    r = rpc_server_new(os_loop_clock(life->loop), &life->serve, &life->server, err);
    if (r == 0)
        r = rpc_server_add(life->server, &rpctest_service, &test, err);
    if (r == 0)
        r = os_unix_listen(path, 0600, 16, &fd, err);
    if (r == 0)
        r = os_listener_new(life->loop, fd, NULL, on_accept, life, &listener, err);
    if (r == 0)
        r = os_loop_on_signal(life->loop, SIGTERM, on_term, life, err);
    if (r == 0) {
        (void)puts("ready");
        r = os_loop_run(life->loop);
        (void)printf("%zu connections, %zu requests\n", life->connections, test.requests);
    }
    os_listener_free(listener);
    rpc_server_free(life->server);
    return r;
}

static void
on_goaway(void *arg, bool too_many_pings)
{
    (void)arg;
    (void)printf("goaway%s\n", too_many_pings ? " too_many_pings" : "");
}

static void
on_closed(void *arg, const char *reason)
{
    (void)printf("closed: %s\n", reason);
    os_loop_stop(((struct life *)arg)->loop, 0);
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    (void)arg;
    (void)printf("%s: %s\n", rpc_code_name(status->code), status->text);
}

static int
life_call(struct life *life, const char *path, struct vmt_err *err)
{
    static const struct rpc_client_handler handler = {.on_done = on_done};
    const struct rpc_client_request request = {.path = RPCTEST_PATH("Hang"),
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .handler = &handler};
    const Vmt__Rpctest__Request message = rpctest_request();
    struct stream *stream;
    int fd;
    int r = os_unix_connect(path, &fd, err);

    if (r < 0)
        return r;
    r = os_stream_new(life->loop, fd, NULL, &stream, err);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    life->call.keepalive_without_calls = life->ask_always > 0;
    life->call.on_goaway = on_goaway;
    life->call.on_closed = on_closed;
    life->call.arg = life;
    r = rpc_client_new(os_loop_clock(life->loop), stream, &life->call, &life->client,
                       err);
    if (r == 0)
        r = rpc_client_start(life->client, &request, &message.base, NULL, err);
    if (r == 0)
        r = os_loop_run(life->loop);
    rpc_client_free(life->client);
    return r;
}

VMT_DEFINE_FREEP(struct os_loop, os_loop_free)

int
main(int argc, char **argv)
{
    VMT_CLEANUP(os_loop_freep) struct os_loop *loop = NULL;
    struct life life = {.grace = 60000};
    struct vmt_err err = {0};
    int r;

    os_process_init();
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3) {
        (void)fprintf(stderr, "usage: rpc_life_peer serve|call SOCKET [KEY=VALUE...]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        if (life_set(&life, argv[i]) < 0)
            return 2;
    r = os_loop_new(&loop, &err);
    life.loop = loop;
    if (r == 0)
        r = strcmp(argv[1], "serve") == 0 ? life_serve(&life, argv[2], &err)
                                          : life_call(&life, argv[2], &err);
    if (r < 0)
        (void)fprintf(stderr, "rpc_life_peer: %s\n", vmt_err_text(&err));
    return r < 0 ? 1 : r;
}
