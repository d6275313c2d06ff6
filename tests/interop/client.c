/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/client.c - grpc_interop_client: the official test cases on core/rpc.
 * Prints "ok   <case>" or "FAIL <case>: why" for each; exits with 0 when all succeeded, 1
 * when one failed, 2 for a wrong command line. The flags are those of the official
 * clients; --test_case takes a list with commas too, and "all". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/tls/tls.h"
#include "tests/interop/caller.h"
#include "tests/interop/cases.h"
#include "tests/interop/creds.h"
#include "tests/interop/flags.h"
#include "tests/interop/net.h"

/* Whom Debian trusts. */
#define SYSTEM_ROOTS "/etc/ssl/certs/ca-certificates.crt"

struct options {
    const char *host, *host_override, *cases, *metadata, *ca;
    uint16_t port;
    bool use_tls, use_test_ca;
};

/* Pointers owned, NULL until they are there. */
struct program {
    struct os_loop *loop;
    struct rpc_client *client;
    struct tls_context *tls;
    struct rpc_metadata metadata;
};

static void
program_done(struct program *p)
{
    rpc_client_free(p->client);
    tls_context_free(p->tls);
    rpc_metadata_done(&p->metadata);
    os_loop_free(p->loop);
}

/* Read "key:value;key:value". */
static int
program_read_metadata(struct program *p, const char *text, struct vmt_err *err)
{
    while (text && *text) {
        const char *value = strchr(text, ':');
        size_t len = value ? strcspn(++value, ";") : 0;
        char key[128];

        if (!value || (size_t)(value - text) > sizeof(key))
            return vmt_err_setx(err, EINVAL, "%s is no list of key:value", text);
        (void)snprintf(key, sizeof(key), "%.*s", (int)(value - text - 1), text);
        if (rpc_metadata_add(&p->metadata, key, value, len) < 0)
            return vmt_err_setx(err, EINVAL, "%s cannot be sent as metadata", text);
        text = value + len + (value[len] == ';');
    }
    return 0;
}

/* Where a handshake ended. */
struct handshake {
    struct os_loop *loop;
    struct stream *stream; /* NULL: it failed */
    struct vmt_err err;
};

static void
handshake_on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct handshake *h = arg;

    h->stream = s;
    if (err)
        h->err = *err;
    os_loop_stop(h->loop, 0);
}

/* Make *stream, the caller's, one over TLS. On failure it is closed and NULL. */
static int
program_shake_hands(struct program *p, const struct options *options,
                    struct stream **stream, struct vmt_err *err)
{
    const bool test_ca = options->use_test_ca && !options->ca;
    const struct tls_config config = {
        .roots.path = test_ca       ? NULL
                      : options->ca ? options->ca
                                    : SYSTEM_ROOTS,
        .roots.pem = test_ca ? interop_ca_pem : NULL,
    };
    struct handshake h = {.loop = p->loop};
    const struct tls_dial dial = {
        .lower = *stream,
        .name = options->host_override ? options->host_override : options->host,
        .on_done = handshake_on_done,
        .arg = &h,
    };
    struct tls_handshake *handshake;
    int r = tls_context_new(os_loop_clock(p->loop), &config, &p->tls, err);

    if (r == 0)
        r = tls_handshake_start(p->tls, &dial, &handshake, err);
    if (r < 0) {
        stream_close(vmt_take_ptr(stream));
        return r;
    }
    (void)os_loop_run(p->loop);
    *stream = h.stream;
    if (!h.stream && err)
        *err = h.err;
    return h.stream ? 0 : vmt_err_wrap(err, -h.err.code, "shake hands");
}

static int
program_connect(struct program *p, const struct options *options, struct vmt_err *err)
{
    static const struct stream_peer peer = {.kind = STREAM_PEER_TCP};
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stream *stream = NULL;
    char authority[300];
    const struct rpc_client_config config = {.authority = authority};
    int r = net_connect(options->host, options->port, &fd, err);

    if (r < 0)
        return r;
    if (options->host_override)
        (void)snprintf(authority, sizeof(authority), "%s", options->host_override);
    else
        (void)snprintf(authority, sizeof(authority), "%s:%u", options->host,
                       options->port);
    r = os_stream_new(p->loop, fd, &peer, &stream, err);
    if (r < 0)
        return r;
    (void)vmt_take_fd(&fd);
    if (options->use_tls)
        r = program_shake_hands(p, options, &stream, err);
    if (r < 0)
        return r;
    r = rpc_client_new(os_loop_clock(p->loop), stream, &config, &p->client, err);
    if (r < 0)
        stream_close(stream);
    return r;
}

/* Returns whether it succeeded. */
static bool
program_run_case(struct program *p, const struct interop_case *c)
{
    struct caller caller = {.loop = p->loop, .client = p->client, .extra = &p->metadata};
    bool ok = c->run(&caller);

    (void)printf(ok ? "ok   %s\n" : "FAIL %s: %s\n", c->name, caller.why);
    (void)fflush(stdout);
    return ok;
}

/* Take the next name off a list with commas. Returns its case, NULL if there is none;
 * name gets a copy, cut when it is too long to be one. */
static const struct interop_case *
next_case(const char **list, char *name, size_t cap)
{
    size_t len = strcspn(*list, ",");

    (void)snprintf(name, cap, "%.*s", (int)len, *list);
    *list += len + ((*list)[len] == ',');
    return interop_case_find(name);
}

static bool
check_cases(const char *list)
{
    char name[64];

    if (strcmp(list, "all") == 0)
        return true;
    while (*list)
        if (!next_case(&list, name, sizeof(name))) {
            (void)fprintf(stderr, "grpc_interop_client: no test case %s\n", name);
            return false;
        }
    return true;
}

/* Returns the exit code. list has been checked. */
static int
program_run(struct program *p, const char *list)
{
    const bool all = strcmp(list, "all") == 0;
    char name[64];
    int code = 0;

    for (size_t i = 0; all && i < ninterop_cases; i++)
        if (!program_run_case(p, &interop_cases[i]))
            code = 1;
    while (!all && *list)
        if (!program_run_case(p, next_case(&list, name, sizeof(name))))
            code = 1;
    return code;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(program_done) struct program p = {0};
    struct options options = {.host = "localhost", .port = 10000, .cases = "large_unary"};
    const struct flag flags[] = {
        {.name = "server_host", .text = &options.host, .help = "name (localhost)"},
        {.name = "server_port", .port = &options.port, .help = "port (10000)"},
        {.name = "server_host_override",
         .text = &options.host_override,
         .help = "name that the server goes by"},
        {.name = "use_tls", .is_set = &options.use_tls, .help = "speak TLS 1.3 (false)"},
        {.name = "use_test_ca",
         .is_set = &options.use_test_ca,
         .help = "trust the CA for tests, not the system's (false)"},
        {.name = "ca_file", .text = &options.ca, .help = "whom to trust instead, PEM"},
        {.name = "test_case",
         .text = &options.cases,
         .help = "case, several with commas, or all (large_unary)"},
        {.name = "additional_metadata",
         .text = &options.metadata,
         .help = "key:value;key:value to send with every call"},
    };
    struct vmt_err err = {0};
    int r;

    os_process_init();
    vmt_log_init("grpc_interop_client", NULL, NULL);
    r = flags_parse(flags, VMT_ARRAY_SIZE(flags), argc, argv);
    if (r != 0)
        return r < 0 ? 2 : 0;
    if (!check_cases(options.cases))
        return 2;
    r = os_loop_new(&p.loop, &err);
    if (r == 0)
        r = program_read_metadata(&p, options.metadata, &err);
    if (r == 0)
        r = program_connect(&p, &options, &err);
    if (r < 0) {
        vmt_log_error("%s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    return program_run(&p, options.cases);
}
