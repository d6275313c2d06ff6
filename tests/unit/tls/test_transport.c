/* SPDX-License-Identifier: BSD-3-Clause */
/* What is peculiar to TCP with TLS; tests/contract has what all transports share. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/adapter/transport.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/tls/tls.h"
#include "platform/linux/tls/transport_tls.h"
#include "tests/unit/os/support.h"
#include "tests/unit/tls/certs.h"

/* One authority; certificates for the host and two VMs. */
struct pki {
    struct cert ca, host, vm[2];
    struct tls_context *server, *client[2];
    struct transport *host_side, *vm_side[2];
};

struct caught {
    unsigned accepted;
    uint32_t cid;
    bool one;
};

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct caught *c = arg;

    c->accepted++;
    c->cid = peer->cid;
    c->one = true;
    stream_close(s);
}

struct dialled {
    struct stream *s;
    bool done;
    int code;
};

static void
on_dialled(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct dialled *d = arg;

    d->s = s;
    d->done = true;
    d->code = s ? 0 : err->code;
}

static struct cert
make_cert(const char *uri, const struct cert *ca)
{
    const int64_t now = time(NULL);

    return cert_make(&(struct cert_plan){.cn = ca ? NULL : "ca",
                                         .uri = uri,
                                         .ca = !ca,
                                         .from = now - 3600,
                                         .until = now + 24 * 3600},
                     ca);
}

static struct tls_context *
make_context(struct os_loop *loop, const struct pki *p, const struct cert *cert,
             bool server)
{
    const struct tls_config config = {.server = server,
                                      .chain.pem = cert->pem,
                                      .key.pem = cert->text,
                                      .roots.pem = p->ca.pem};
    struct tls_context *context;

    assert_int_equal(tls_context_new(os_loop_clock(loop), &config, &context, NULL), 0);
    return context;
}

static void
pki_make(struct pki *p, struct os_loop *loop)
{
    struct transport_tls_config config = {0};

    p->ca = make_cert(NULL, NULL);
    p->host = make_cert("spiffe://t/host", &p->ca);
    p->vm[0] = make_cert("spiffe://t/vm0", &p->ca);
    p->vm[1] = make_cert("spiffe://t/vm1", &p->ca);
    p->server = make_context(loop, p, &p->host, true);
    config.server = p->server;
    assert_int_equal(transport_tls_new(loop, &config, &p->host_side, NULL), 0);
    for (int i = 0; i < 2; i++) {
        p->client[i] = make_context(loop, p, &p->vm[i], false);
        config =
            (struct transport_tls_config){.client = p->client[i], .bind_address = NULL};
        assert_int_equal(transport_tls_new(loop, &config, &p->vm_side[i], NULL), 0);
        assert_int_equal(p->vm_side[i]->ops->vm_add(p->vm_side[i], 2,
                                                    "spiffe://t/host@127.0.0.1", NULL),
                         0);
    }
}

static void
pki_done(struct pki *p)
{
    p->host_side->ops->free(p->host_side);
    tls_context_free(p->server);
    for (int i = 0; i < 2; i++) {
        p->vm_side[i]->ops->free(p->vm_side[i]);
        tls_context_free(p->client[i]);
        cert_done(&p->vm[i]);
    }
    cert_done(&p->ca);
    cert_done(&p->host);
}

static uint32_t
listen_somewhere(struct transport *t, struct caught *c)
{
    struct transport_listener *l;

    srand((unsigned)getpid());
    for (int i = 0; i < 50; i++) {
        uint32_t port = 20000 + (uint32_t)rand() % 10000;

        if (t->ops->listen(t, port, on_accept, c, &l, NULL) == 0)
            return port;
    }
    fail_msg("no free port");
    return 0;
}

static void
dial(struct transport *t, uint32_t port, struct dialled *d)
{
    const struct transport_dial request = {
        .cid = 2, .port = port, .timeout_ms = 20000, .on_done = on_dialled, .arg = d};
    struct transport_op *op;

    assert_int_equal(t->ops->connect(t, &request, &op, NULL), 0);
}

static void
addresses_are_identity_at_host(void **state)
{
    struct pki p = {0};
    struct transport *t;
    struct transport_op *op;
    struct transport_listener *l;
    struct transport_dial d = {.cid = 50, .port = 1};
    struct vmt_err err;

    pki_make(&p, *state);
    t = p.host_side;
    assert_int_equal(t->ops->vm_add(t, 50, NULL, &err), -EINVAL);
    assert_int_equal(t->ops->vm_add(t, 50, "127.0.0.1", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "IDENTITY@HOST"));
    assert_int_equal(t->ops->vm_add(t, 50, "@127.0.0.1", &err), -EINVAL);
    assert_int_equal(t->ops->vm_add(t, 50, "a@guest.example", &err), -EINVAL);
    assert_int_equal(t->ops->vm_add(t, 50, "a@b@127.0.0.1", &err), 0);
    assert_int_equal(t->ops->vm_add(t, 50, "c@127.0.0.1", &err), -EEXIST);
    assert_int_equal(t->ops->vm_add(t, 51, "a@b@::1", &err), -EEXIST); /* who is it? */
    assert_int_equal(t->ops->vm_add(t, 51, "c@127.0.0.1", &err), 0);   /* same address */
    assert_int_equal(t->ops->vm_add(t, 52, "d@", &err), 0);            /* calls only */
    assert_int_equal(t->ops->connect(t, &d, &op, &err), -EINVAL); /* no client context */
    assert_int_equal(
        p.vm_side[0]->ops->listen(p.vm_side[0], 1, on_accept, NULL, &l, &err), -EINVAL);
    assert_int_equal(p.vm_side[0]->ops->vm_add(p.vm_side[0], 50, "d@", &err), 0);
    assert_int_equal(p.vm_side[0]->ops->connect(p.vm_side[0], &d, &op, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "no address"));
    t->ops->vm_remove(t, 50);
    assert_int_equal(t->ops->vm_add(t, 50, "a@b@127.0.0.1", &err), 0);
    pki_done(&p);
}

static void
vms_behind_one_address_are_told_apart(void **state)
{
    struct pki p = {0};
    struct caught c = {0};
    struct dialled d[2] = {{0}, {0}};
    uint32_t port;

    pki_make(&p, *state);
    assert_int_equal(p.host_side->ops->vm_add(p.host_side, 40, "spiffe://t/vm0@", NULL),
                     0);
    assert_int_equal(p.host_side->ops->vm_add(p.host_side, 41, "spiffe://t/vm1@", NULL),
                     0);
    port = listen_somewhere(p.host_side, &c);
    for (int i = 0; i < 2; i++) {
        c.one = false;
        dial(p.vm_side[i], port, &d[i]);
        test_run_until(*state, &c.one);
        assert_int_equal(c.cid, 40 + i);
        test_run_until(*state, &d[i].done);
        stream_close(d[i].s);
    }
    pki_done(&p);
}

#define SILENT 300

static int
connect_silent(uint32_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&to, sizeof(to)), 0);
    return fd;
}

/* They would otherwise keep everybody else out until their deadline. */
static void
silent_strangers_give_way_to_who_comes_after_them(void **state)
{
    struct pki p = {0};
    struct caught c = {0};
    struct dialled d = {0};
    int fds[SILENT];
    uint32_t port;

    pki_make(&p, *state);
    assert_int_equal(p.host_side->ops->vm_add(p.host_side, 40, "spiffe://t/vm0@", NULL),
                     0);
    port = listen_somewhere(p.host_side, &c);
    for (int i = 0; i < SILENT; i++) {
        fds[i] = connect_silent(port);
        if (i % 16 == 0)
            test_run_turns(*state, 4);
    }
    dial(p.vm_side[0], port, &d);
    test_run_until(*state, &c.one);
    assert_int_equal(c.accepted, 1);
    assert_int_equal(recv(fds[0], &(char){0}, 1, MSG_DONTWAIT),
                     0); /* the oldest is out */
    assert_int_equal(recv(fds[SILENT - 1], &(char){0}, 1, MSG_DONTWAIT), -1);
    test_run_until(*state, &d.done);
    stream_close(d.s);
    for (int i = 0; i < SILENT; i++)
        (void)close(fds[i]);
    pki_done(&p);
}

#define LOOP_TEST(f)                                                                     \
    cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(addresses_are_identity_at_host),
        LOOP_TEST(vms_behind_one_address_are_told_apart),
        LOOP_TEST(silent_strangers_give_way_to_who_comes_after_them),
    };

    os_raise_nofile();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
