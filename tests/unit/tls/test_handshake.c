/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is let in and who is not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ssl.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

static void
expect_words(const struct tls_side *side, int code, const char *word)
{
    assert_true(side->done);
    assert_null(side->s);
    assert_int_equal(side->err.code, code);
    if (!strstr(side->err.msg, word))
        fail_msg("\"%s\" does not say \"%s\"", side->err.msg, word);
}

/* A client learns of the refusal when it reads: TLS 1.3 lets it finish first. */
static void
expect_client_broken(struct tls_world *w)
{
    tls_world_run(w);
    if (!w->c.s) {
        assert_true(w->c.err.code > 0);
        return;
    }
    assert_true(w->c.ended);
    assert_true(w->c.status < 0);
}

static void
use_client(struct tls_world *w, const struct cert_plan *plan, const struct cert *ca)
{
    struct cert cert = cert_make(plan, ca);

    tls_context_free(w->client);
    w->client = tls_world_client(w, &cert, &w->ca);
    cert_done(&cert);
}

static void
use_server(struct tls_world *w, const struct cert_plan *plan)
{
    struct cert cert = cert_make(plan, &w->ca);

    tls_context_free(w->server);
    w->server = tls_world_server(w, &cert, &w->ca);
    cert_done(&cert);
}

static void
a_client_of_another_authority_is_refused(void **state)
{
    struct tls_world *w = *state;
    struct cert other =
        cert_make(&(struct cert_plan){.cn = "authority", .ca = true}, NULL);

    use_client(w, &(struct cert_plan){.uri = "spiffe://test/client"}, &other);
    tls_world_shake(w);
    expect_words(&w->s, EACCES, "certificate of the peer");
    expect_client_broken(w);
    cert_done(&other);
}

static void
a_client_without_certificate_is_refused(void **state)
{
    struct tls_world *w = *state;

    tls_context_free(w->client);
    w->client = tls_world_client(w, NULL, &w->ca);
    tls_world_shake(w);
    expect_words(&w->s, EPROTO, "certificate");
    expect_client_broken(w);
}

static void
a_server_may_let_anybody_in_if_told_so(void **state)
{
    struct tls_world *w = *state;
    struct stream_peer peer;

    tls_context_free(w->client);
    w->client = tls_world_client(w, NULL, &w->ca);
    tls_context_free(w->server);
    w->server = tls_world_server(w, &w->server_cert, NULL);
    tls_world_connect(w);
    w->s.s->ops->peer(w->s.s, &peer);
    assert_int_equal(peer.kind, STREAM_PEER_TLS);
    assert_null(peer.identity);
    assert_int_equal(peer.identity_kind, STREAM_IDENTITY_NONE);
}

static void
certificates_end_with_their_dates(void **state)
{
    struct tls_world *w = *state;

    fake_clock_set_wall(w->clock, CERT_UNTIL - 1);
    tls_world_connect(w);
    fake_clock_set_wall(w->clock, CERT_UNTIL + 1);
    tls_world_wire(w);
    tls_world_shake(w);
    expect_words(&w->c, EACCES, "expired");
    fake_clock_set_wall(w->clock, CERT_FROM - 1);
    tls_world_wire(w);
    tls_world_shake(w);
    expect_words(&w->c, EACCES, "not yet valid");
}

static void
an_expired_client_is_refused_by_the_server(void **state)
{
    struct tls_world *w = *state;

    use_client(w, &(struct cert_plan){.uri = "spiffe://test/client", .until = 1700000100},
               &w->ca);
    tls_world_connect(w);
    fake_clock_set_wall(w->clock, 1700000101);
    tls_world_wire(w);
    tls_world_shake(w);
    expect_words(&w->s, EACCES, "expired");
    expect_client_broken(w);
}

static int
shake_with(struct tls_world *w, const char *name, const char *identity)
{
    tls_world_wire(w);
    tls_side_start(&w->s, w->server, NULL, NULL);
    tls_side_start(&w->c, w->client, name, identity);
    tls_world_run(w);
    assert_int_equal(w->c.times, 1);
    return w->c.s ? 0 : w->c.err.code;
}

static void
a_client_gets_whom_it_asked_for_or_nobody(void **state)
{
    struct tls_world *w = *state;

    assert_int_equal(shake_with(w, "vm.example", NULL), 0);
    assert_int_equal(shake_with(w, "VM.example", NULL), 0);
    assert_int_equal(shake_with(w, "::1", NULL), 0);
    assert_int_equal(shake_with(w, NULL, "spiffe://test/server"), 0);
    assert_int_equal(shake_with(w, "vm.example", "spiffe://test/server"), 0);
    assert_int_equal(shake_with(w, "other.example", NULL), EACCES);
    assert_int_equal(shake_with(w, "server", NULL), EACCES); /* only the common name */
    assert_int_equal(shake_with(w, "127.0.0.1", NULL), EACCES);
    assert_int_equal(shake_with(w, NULL, "spiffe://test/serve"), EACCES);
    assert_int_equal(shake_with(w, NULL, "vm.example"), EACCES); /* not its identity */
    assert_int_equal(shake_with(w, "vm.example", "spiffe://test/other"), EACCES);
}

static void
a_client_has_to_say_whom_it_wants(void **state)
{
    struct tls_world *w = *state;
    struct tls_dial dial = {.lower = NULL};
    struct tls_handshake *handshake;

    tls_world_wire(w);
    dial.lower = w->c.raw;
    assert_int_equal(tls_handshake_start(w->client, &dial, &handshake, NULL), -EINVAL);
}

static void
expect_identity(struct tls_world *w, const struct cert_plan *plan,
                enum stream_identity_kind kind, const char *identity)
{
    struct stream_peer peer;

    use_client(w, plan, &w->ca);
    tls_world_wire(w);
    tls_world_connect(w);
    w->s.s->ops->peer(w->s.s, &peer);
    assert_int_equal(peer.identity_kind, kind);
    assert_string_equal(peer.identity, identity);
}

static void
an_identity_is_the_best_name_there_is(void **state)
{
    struct tls_world *w = *state;

    expect_identity(w, &(struct cert_plan){.cn = "n", .uri = "spiffe://a/b", .dns = "d"},
                    STREAM_IDENTITY_URI, "spiffe://a/b");
    expect_identity(w, &(struct cert_plan){.cn = "n", .dns = "d.example"},
                    STREAM_IDENTITY_DNS, "d.example");
    expect_identity(w, &(struct cert_plan){.cn = "n", .ip = "::1"}, STREAM_IDENTITY_CN,
                    "n");
    expect_identity(w, &(struct cert_plan){.cn = "\xc3\xa4"}, STREAM_IDENTITY_CN,
                    "\xc3\xa4");
}

static void
expect_no_identity(struct tls_world *w, const struct cert_plan *plan)
{
    use_client(w, plan, &w->ca);
    tls_world_wire(w);
    tls_world_shake(w);
    expect_words(&w->s, EACCES, "identity");
    expect_client_broken(w);
}

static void
a_name_is_never_cut_or_guessed(void **state)
{
    struct tls_world *w = *state;
    char name[VMT_IDENTITY_MAX + 2];

    memset(name, 'x', sizeof(name));
    memcpy(name, "spiffe://", 9);
    name[VMT_IDENTITY_MAX] = '\0';
    expect_identity(w, &(struct cert_plan){.uri = name}, STREAM_IDENTITY_URI, name);
    name[VMT_IDENTITY_MAX] = 'x';
    name[VMT_IDENTITY_MAX + 1] = '\0';
    expect_no_identity(w, &(struct cert_plan){.uri = name});
    expect_no_identity(w, &(struct cert_plan){.uri = "spiffe://a\0b", .uri_len = 12});
    expect_no_identity(w, &(struct cert_plan){.uri = "spiffe://a\nb"});
    expect_no_identity(
        w, &(struct cert_plan){.uri = "spiffe://a", .second_uri = "spiffe://b"});
    expect_no_identity(w, &(struct cert_plan){.ip = "::1"});
}

static void
a_common_name_that_looks_like_a_uri_is_none(void **state)
{
    struct tls_world *w = *state;

    use_server(w, &(struct cert_plan){.cn = "spiffe://test/server"});
    assert_int_equal(shake_with(w, NULL, "spiffe://test/server"), EACCES);
    use_server(w, &(struct cert_plan){.cn = "plain"});
    assert_int_equal(shake_with(w, NULL, "plain"), 0);
}

/* A server that names itself in a way that nobody can tell is no server either. */
static void
a_server_with_two_identities_is_refused(void **state)
{
    struct tls_world *w = *state;

    use_server(w, &(struct cert_plan){.dns = "vm.example",
                                      .uri = "spiffe://a",
                                      .second_uri = "spiffe://b"});
    tls_world_shake(w);
    expect_words(&w->c, EACCES, "identity");
}

/* --- peers that are not ours: OpenSSL by hand over the other end --- */

struct stock {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    struct stream *raw;
};

static void
stock_flush(struct stock *p)
{
    char *data;
    long len = BIO_get_mem_data(p->out, &data);

    if (len > 0)
        (void)p->raw->ops->send(p->raw, data, (size_t)len, NULL, 0);
    (void)BIO_reset(p->out);
}

static void
stock_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct stock *p = arg;

    assert_int_equal(BIO_write(p->in, data, (int)len), len);
    (void)SSL_do_handshake(p->ssl);
    stock_flush(p);
}

static void
stock_on_end(void *arg, int status)
{
    (void)arg;
    (void)status;
}

static const struct stream_handler stock_handler = {stock_on_data, NULL, stock_on_end};

static void
stock_make(struct stock *p, struct tls_world *w, bool server)
{
    const struct cert *cert = server ? &w->server_cert : &w->client_cert;

    p->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    assert_non_null(p->ctx);
    assert_int_equal(SSL_CTX_use_certificate(p->ctx, cert->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->ctx, cert->key), 1);
}

/* Take over the raw end of side and shake hands with our other side. */
static void
stock_start(struct stock *p, struct tls_world *w, bool server)
{
    struct tls_side *side = server ? &w->s : &w->c;

    tls_world_wire(w);
    p->raw = vmt_take_ptr(&side->raw);
    p->ssl = SSL_new(p->ctx);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    (void)BIO_set_mem_eof_return(p->in, -1);
    SSL_set_bio(p->ssl, p->in, p->out);
    p->raw->ops->set_handler(p->raw, &stock_handler, p);
    if (server)
        SSL_set_accept_state(p->ssl);
    else
        SSL_set_connect_state(p->ssl);
    tls_side_start(server ? &w->c : &w->s, server ? w->client : w->server,
                   server ? "vm.example" : NULL, NULL);
    (void)SSL_do_handshake(p->ssl);
    stock_flush(p);
    tls_world_run(w);
}

static void
stock_stop(struct stock *p)
{
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    stream_close(p->raw);
}

static const unsigned char h2[] = {2, 'h', '2'};
static const unsigned char http1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

static void
tls_1_2_is_too_old(void **state)
{
    struct tls_world *w = *state;

    for (int server = 0; server < 2; server++) {
        struct stock p = {0};

        stock_make(&p, w, server);
        assert_int_equal(SSL_CTX_set_max_proto_version(p.ctx, TLS1_2_VERSION), 1);
        assert_int_equal(SSL_CTX_set_alpn_protos(p.ctx, h2, sizeof(h2)), 0);
        stock_start(&p, w, server);
        expect_words(server ? &w->c : &w->s, EPROTO, "protocol");
        stock_stop(&p);
    }
}

static void
a_client_without_h2_is_refused(void **state)
{
    struct tls_world *w = *state;

    for (int other = 0; other < 2; other++) {
        struct stock p = {0};

        stock_make(&p, w, false);
        if (other)
            assert_int_equal(SSL_CTX_set_alpn_protos(p.ctx, http1, sizeof(http1)), 0);
        stock_start(&p, w, false);
        assert_true(w->s.done);
        assert_null(w->s.s);
        assert_int_equal(w->s.err.code, EPROTO);
        stock_stop(&p);
    }
}

static void
a_server_without_h2_is_refused(void **state)
{
    struct tls_world *w = *state;
    struct stock p = {0};

    stock_make(&p, w, true);
    stock_start(&p, w, true);
    expect_words(&w->c, EPROTO, "h2");
    stock_stop(&p);
}

/* The same stock client gets in when nothing is wrong with it. */
static void
a_stock_client_is_let_in(void **state)
{
    struct tls_world *w = *state;
    struct stock p = {0};

    stock_make(&p, w, false);
    assert_int_equal(SSL_CTX_set_alpn_protos(p.ctx, h2, sizeof(h2)), 0);
    stock_start(&p, w, false);
    assert_non_null(w->s.s);
    stock_stop(&p);
}

static void
what_is_no_tls_is_refused(void **state)
{
    static const char *const bytes[] = {
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\xff\xff garbage in a record that is too long",
        "\x16\x03\x01\x01\x05\x01\xff\xff\xff a hello of sixteen megabytes",
        "\x15\x03\x03\x01\x02\x02\x28",
    };
    struct tls_world *w = *state;

    for (size_t i = 0; i < 2 * VMT_ARRAY_SIZE(bytes); i++) {
        struct tls_side *ours = i % 2 ? &w->c : &w->s, *theirs = i % 2 ? &w->s : &w->c;
        const char *text = bytes[i / 2];

        tls_world_wire(w);
        tls_side_start(ours, i % 2 ? w->client : w->server, i % 2 ? "vm.example" : NULL,
                       NULL);
        (void)theirs->raw->ops->send(theirs->raw, text, strlen(text), NULL, 0);
        theirs->raw->ops->shutdown_send(theirs->raw);
        tls_world_run(w);
        assert_int_equal(ours->times, 1);
        assert_true(ours->err.code == EPROTO || ours->err.code == ECONNRESET);
    }
}

/* --- the connection ends, or hangs, at every byte --- */

struct tap {
    struct stream *from, *to;
    size_t left; /* bytes that still pass */
};

static void
tap_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct tap *tap = arg;
    size_t n = len < tap->left ? len : tap->left;

    tap->left -= n;
    (void)tap->to->ops->send(tap->to, data, n, NULL, 0);
    if (n < len)
        tap->to->ops->shutdown_send(tap->to);
}

static void
tap_on_end(void *arg, int status)
{
    struct tap *tap = arg;

    (void)status;
    tap->to->ops->shutdown_send(tap->to);
}

static const struct stream_handler tap_handler = {tap_on_data, NULL, tap_on_end};

/* A handshake through two taps. Returns whether both sides came through. */
static bool
shake_through(struct tls_world *w, struct tap *up, struct tap *down)
{
    struct vmt_clock *clock = fake_clock_base(w->clock);
    struct stream *a[2], *b[2];
    bool ok;

    tls_world_reset(w);
    assert_int_equal(fake_stream_pair(clock, a), 0);
    assert_int_equal(fake_stream_pair(clock, b), 0);
    w->c.raw = a[0];
    w->s.raw = b[0];
    *up = (struct tap){a[1], b[1], up->left};
    *down = (struct tap){b[1], a[1], down->left};
    a[1]->ops->set_handler(a[1], &tap_handler, up);
    b[1]->ops->set_handler(b[1], &tap_handler, down);
    tls_side_start(&w->s, w->server, NULL, NULL);
    tls_side_start(&w->c, w->client, "vm.example", NULL);
    tls_world_run(w);
    ok = w->c.s && w->s.s && !w->c.ended && !w->s.ended;
    tls_world_reset(w);
    stream_close(a[1]);
    stream_close(b[1]);
    return ok;
}

static void
a_connection_cut_at_any_byte_is_told_once_to_both(void **state)
{
    struct tls_world *w = *state;
    struct tap up = {.left = SIZE_MAX}, down = {.left = SIZE_MAX};
    size_t sent_up, sent_down;

    assert_true(shake_through(w, &up, &down));
    sent_up = SIZE_MAX - up.left;
    sent_down = SIZE_MAX - down.left;
    assert_true(sent_up > 500 && sent_down > 500);
    /* Keys and signatures differ by a few bytes from one handshake to the next. */
    for (size_t n = 0; n + 16 < sent_up; n++) {
        up = (struct tap){.left = n};
        down = (struct tap){.left = SIZE_MAX};
        assert_false(shake_through(w, &up, &down));
    }
    for (size_t n = 0; n + 16 < sent_down; n++) {
        up = (struct tap){.left = SIZE_MAX};
        down = (struct tap){.left = n};
        assert_false(shake_through(w, &up, &down));
    }
}

static void
who_says_nothing_costs_no_more_than_the_deadline(void **state)
{
    struct tls_world *w = *state;

    tls_world_wire(w);
    tls_side_start(&w->s, w->server, NULL, NULL);
    tls_world_run(w);
    assert_false(w->s.done);
    fake_clock_advance(w->clock, 9999);
    assert_false(w->s.done);
    fake_clock_advance(w->clock, 1);
    expect_words(&w->s, ETIMEDOUT, "handshake");
}

static void
a_cancelled_handshake_says_nothing(void **state)
{
    struct tls_world *w = *state;

    tls_world_wire(w);
    tls_side_start(&w->s, w->server, NULL, NULL);
    tls_side_start(&w->c, w->client, "vm.example", NULL);
    tls_handshake_cancel(vmt_take_ptr(&w->c.handshake));
    tls_handshake_cancel(NULL);
    tls_world_run(w);
    assert_int_equal(w->c.times, 0);
    assert_true(w->s.done);
    assert_null(w->s.s);
}

#define SHAKE_TEST(f)                                                                    \
    cmocka_unit_test_setup_teardown(f, tls_world_setup, tls_world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SHAKE_TEST(a_client_of_another_authority_is_refused),
        SHAKE_TEST(a_client_without_certificate_is_refused),
        SHAKE_TEST(a_server_may_let_anybody_in_if_told_so),
        SHAKE_TEST(certificates_end_with_their_dates),
        SHAKE_TEST(an_expired_client_is_refused_by_the_server),
        SHAKE_TEST(a_client_gets_whom_it_asked_for_or_nobody),
        SHAKE_TEST(a_client_has_to_say_whom_it_wants),
        SHAKE_TEST(an_identity_is_the_best_name_there_is),
        SHAKE_TEST(a_name_is_never_cut_or_guessed),
        SHAKE_TEST(a_common_name_that_looks_like_a_uri_is_none),
        SHAKE_TEST(a_server_with_two_identities_is_refused),
        SHAKE_TEST(tls_1_2_is_too_old),
        SHAKE_TEST(a_client_without_h2_is_refused),
        SHAKE_TEST(a_server_without_h2_is_refused),
        SHAKE_TEST(a_stock_client_is_let_in),
        SHAKE_TEST(what_is_no_tls_is_refused),
        SHAKE_TEST(a_connection_cut_at_any_byte_is_told_once_to_both),
        SHAKE_TEST(who_says_nothing_costs_no_more_than_the_deadline),
        SHAKE_TEST(a_cancelled_handshake_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
