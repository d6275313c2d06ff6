/* SPDX-License-Identifier: BSD-3-Clause */
/* What a context takes, and that new files replace old ones or change nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

struct files {
    char dir[64], chain[96], key[96], roots[96];
};

static void
put(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void
files_make(struct files *f)
{
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/vmt_test_tls.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->chain, sizeof(f->chain), "%s/chain.pem", f->dir);
    (void)snprintf(f->key, sizeof(f->key), "%s/key.pem", f->dir);
    (void)snprintf(f->roots, sizeof(f->roots), "%s/roots.pem", f->dir);
}

static void
files_done(struct files *f)
{
    (void)unlink(f->chain);
    (void)unlink(f->key);
    (void)unlink(f->roots);
    (void)rmdir(f->dir);
}

static void
files_put(const struct files *f, const struct cert *cert, const struct cert *ca)
{
    put(f->chain, cert->pem);
    put(f->key, cert->text);
    put(f->roots, ca->pem);
}

static struct tls_context *
files_server(const struct files *f, struct tls_world *w)
{
    const struct tls_config config = {.server = true,
                                      .chain.path = f->chain,
                                      .key.path = f->key,
                                      .roots.path = f->roots};
    struct tls_context *context;
    struct vmt_err err;

    if (tls_context_new(fake_clock_base(w->clock), &config, &context, &err) < 0)
        fail_msg("%s", vmt_err_text(&err));
    return context;
}

/* The identity that a new connection sees on the other side of it. */
static void
expect_server(struct tls_world *w, const char *identity)
{
    struct stream_peer peer;

    tls_world_wire(w);
    tls_world_connect(w);
    w->c.s->ops->peer(w->c.s, &peer);
    assert_string_equal(peer.identity, identity);
}

static void
expect_refusal(struct tls_world *w, const struct tls_config *config, int code,
               const char *word)
{
    struct tls_context *context = NULL;
    struct vmt_err err;

    assert_int_equal(tls_context_new(fake_clock_base(w->clock), config, &context, &err),
                     -code);
    assert_null(context);
    if (!strstr(err.msg, word))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, word);
}

static void
what_is_missing_is_named(void **state)
{
    struct tls_world *w = *state;
    struct tls_config config = {.server = true};

    expect_refusal(w, &config, EINVAL, "needs a certificate");
    config.chain.pem = w->server_cert.pem;
    expect_refusal(w, &config, EINVAL, "go together");
    config.key.pem = w->server_cert.text;
    expect_refusal(w, &config, EINVAL, "trust");
    config.server = false;
    expect_refusal(w, &config, EINVAL, "trust");
    config.roots.path = "/nonexistent/roots";
    expect_refusal(w, &config, ENOENT, "/nonexistent/roots");
    config.roots.path = "/dev/zero";
    expect_refusal(w, &config, EFBIG, "/dev/zero");
}

static void
what_is_no_pem_is_refused(void **state)
{
    struct tls_world *w = *state;
    struct tls_config config = {.server = true,
                                .chain.pem = w->server_cert.pem,
                                .key.pem = w->server_cert.text,
                                .roots.pem = "no certificate at all"};
    VMT_CLEANUP(vmt_freep) char *damaged = strdup(w->ca.pem);
    VMT_CLEANUP(vmt_freep) char *cut = strdup(w->ca.pem);

    expect_refusal(w, &config, EINVAL, "no certificate");
    damaged[strlen(damaged) / 2] = '!';
    config.roots.pem = damaged;
    expect_refusal(w, &config, EINVAL, "certificate 1");
    config.roots.pem = w->ca.pem;
    config.key.pem = w->server_cert.pem;
    expect_refusal(w, &config, EINVAL, "private key");
    config.key.pem = w->client_cert.text;
    expect_refusal(w, &config, EINVAL, "mismatch");
    /* Cut anywhere it is no certificate. */
    config.key.pem = w->server_cert.text;
    config.roots.pem = cut;
    for (size_t len = strlen(cut) - 2; len > 0; len -= len > 40 ? 37 : len) {
        cut[len] = '\0';
        expect_refusal(w, &config, EINVAL, "certificate");
    }
}

static int
passphrase(char *buf, int size, int writing, void *arg)
{
    (void)writing;
    (void)arg;
    return snprintf(buf, (size_t)size, "secret");
}

/* It must not ask at the terminal either: the test would hang. */
static void
a_key_with_passphrase_is_refused(void **state)
{
    struct tls_world *w = *state;
    BIO *bio = BIO_new(BIO_s_mem());
    struct tls_config config = {
        .server = true, .chain.pem = w->server_cert.pem, .roots.pem = w->ca.pem};
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char *data;

    assert_int_equal(PEM_write_bio_PrivateKey(bio, w->server_cert.key, EVP_aes_128_cbc(),
                                              NULL, 0, passphrase, NULL),
                     1);
    text = strndup(data, (size_t)BIO_get_mem_data(bio, &data));
    BIO_free(bio);
    config.key.pem = text;
    expect_refusal(w, &config, EINVAL, "without passphrase");
}

static void
dates_are_checked_against_the_clock(void **state)
{
    struct tls_world *w = *state;
    struct tls_config config = {.server = true,
                                .chain.pem = w->server_cert.pem,
                                .key.pem = w->server_cert.text,
                                .roots.pem = w->ca.pem};
    struct tls_context *context;

    fake_clock_set_wall(w->clock, CERT_FROM - 1);
    expect_refusal(w, &config, EKEYEXPIRED, "not valid yet");
    fake_clock_set_wall(w->clock, CERT_UNTIL + 1);
    expect_refusal(w, &config, EKEYEXPIRED, "expired");
    fake_clock_set_wall(w->clock, CERT_UNTIL - 1);
    assert_int_equal(tls_context_new(fake_clock_base(w->clock), &config, &context, NULL),
                     0);
    tls_context_free(context);
}

static void
a_chain_holds_together_and_reaches_the_root(void **state)
{
    struct tls_world *w = *state;
    struct cert middle =
        cert_make(&(struct cert_plan){.cn = "middle", .ca = true}, &w->ca);
    struct cert leaf = cert_make(
        &(struct cert_plan){.uri = "spiffe://test/leaf", .dns = "vm.example"}, &middle);
    VMT_CLEANUP(vmt_freep) char *good = NULL, *bad = NULL;
    struct tls_config config = {
        .server = true, .key.pem = leaf.text, .roots.pem = w->ca.pem};

    assert_true(asprintf(&good, "%s%s", leaf.pem, middle.pem) > 0);
    assert_true(asprintf(&bad, "%s%s", leaf.pem, w->client_cert.pem) > 0);
    config.chain.pem = bad;
    expect_refusal(w, &config, EINVAL, "did not sign");
    config.chain.pem = good;
    tls_context_free(w->server);
    assert_int_equal(
        tls_context_new(fake_clock_base(w->clock), &config, &w->server, NULL), 0);
    expect_server(w, "spiffe://test/leaf");
    cert_done(&leaf);
    cert_done(&middle);
}

static void
new_files_serve_new_connections_and_old_ones_go_on(void **state)
{
    struct tls_world *w = *state;
    struct files f;
    struct cert next = cert_make(
        &(struct cert_plan){.uri = "spiffe://test/next", .dns = "vm.example"}, &w->ca);
    struct tls_side old_c, old_s;

    files_make(&f);
    files_put(&f, &w->server_cert, &w->ca);
    tls_context_free(w->server);
    w->server = files_server(&f, w);
    tls_world_connect(w);
    old_c = w->c;
    old_s = w->s;
    memset(&w->c, 0, sizeof(w->c));
    memset(&w->s, 0, sizeof(w->s));
    old_s.s->ops->set_handler(old_s.s, NULL, NULL);
    files_put(&f, &next, &w->ca);
    assert_int_equal(tls_context_reload(w->server, NULL), 0);
    expect_server(w, "spiffe://test/next");
    assert_int_equal(old_c.s->ops->send(old_c.s, "still", 5, NULL, 0), 0);
    old_c.s->ops->set_handler(old_c.s, NULL, NULL);
    tls_world_run(w);
    stream_close(old_c.s);
    stream_close(old_s.s);
    cert_done(&next);
    files_done(&f);
}

static void
bad_files_change_nothing_and_say_why(void **state)
{
    struct tls_world *w = *state;
    struct files f;
    struct vmt_err err;

    files_make(&f);
    files_put(&f, &w->server_cert, &w->ca);
    tls_context_free(w->server);
    w->server = files_server(&f, w);
    put(f.key, w->client_cert.text);
    assert_int_equal(tls_context_reload(w->server, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "keep the old"));
    assert_non_null(strstr(err.msg, f.key));
    expect_server(w, "spiffe://test/server");
    (void)unlink(f.chain);
    assert_int_equal(tls_context_reload(w->server, &err), -ENOENT);
    expect_server(w, "spiffe://test/server");
    put(f.chain, "");
    assert_int_equal(tls_context_reload(w->server, &err), -EINVAL);
    expect_server(w, "spiffe://test/server");
    files_done(&f);
}

/* Who is trusted changes with the file too. */
static void
a_client_of_a_dropped_authority_is_refused_from_then_on(void **state)
{
    struct tls_world *w = *state;
    struct files f;
    struct cert other = cert_make(&(struct cert_plan){.cn = "other", .ca = true}, NULL);

    files_make(&f);
    files_put(&f, &w->server_cert, &w->ca);
    tls_context_free(w->server);
    w->server = files_server(&f, w);
    expect_server(w, "spiffe://test/server");
    put(f.roots, other.pem);
    assert_int_equal(tls_context_reload(w->server, NULL), 0);
    tls_world_wire(w);
    tls_world_shake(w);
    assert_null(w->s.s);
    assert_int_equal(w->s.err.code, EACCES);
    cert_done(&other);
    files_done(&f);
}

#define CONTEXT_TEST(f)                                                                  \
    cmocka_unit_test_setup_teardown(f, tls_world_setup, tls_world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CONTEXT_TEST(what_is_missing_is_named),
        CONTEXT_TEST(what_is_no_pem_is_refused),
        CONTEXT_TEST(a_key_with_passphrase_is_refused),
        CONTEXT_TEST(dates_are_checked_against_the_clock),
        CONTEXT_TEST(a_chain_holds_together_and_reaches_the_root),
        CONTEXT_TEST(new_files_serve_new_connections_and_old_ones_go_on),
        CONTEXT_TEST(bad_files_change_nothing_and_say_why),
        CONTEXT_TEST(a_client_of_a_dropped_authority_is_refused_from_then_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
