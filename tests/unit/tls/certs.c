/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/tls/certs.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/test.h"

static char *
bio_text(BIO *bio)
{
    char *data, *copy;
    long len = BIO_get_mem_data(bio, &data);

    assert_true(len > 0);
    copy = strndup(data, (size_t)len);
    assert_non_null(copy);
    BIO_free(bio);
    return copy;
}

static void
add_name(GENERAL_NAMES *names, int type, const char *text, int len)
{
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();

    assert_int_equal(ASN1_STRING_set(string, text, len ? len : -1), 1);
    GENERAL_NAME_set0_value(name, type, string);
    assert_true(sk_GENERAL_NAME_push(names, name) > 0);
}

static void
add_address(GENERAL_NAMES *names, const char *text)
{
    GENERAL_NAME *name;

    if (!text)
        return;
    name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_IPADD, a2i_IPADDRESS(text));
    assert_true(sk_GENERAL_NAME_push(names, name) > 0);
}

static void
add_names(X509 *x509, const struct cert_plan *plan)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

    if (plan->uri)
        add_name(names, GEN_URI, plan->uri, plan->uri_len);
    if (plan->second_uri)
        add_name(names, GEN_URI, plan->second_uri, 0);
    if (plan->dns)
        add_name(names, GEN_DNS, plan->dns, 0);
    add_address(names, plan->ip);
    if (sk_GENERAL_NAME_num(names) > 0)
        assert_int_equal(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

static void
add_ca(X509 *x509)
{
    X509_EXTENSION *ext =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

    assert_non_null(ext);
    assert_int_equal(X509_add_ext(x509, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

struct cert
cert_make(const struct cert_plan *plan, const struct cert *issuer)
{
    static long serial = 1;
    struct cert cert = {.x509 = X509_new(), .key = EVP_EC_gen("P-256")};
    X509_NAME *name = X509_get_subject_name(cert.x509);
    BIO *bio = BIO_new(BIO_s_mem());

    assert_non_null(cert.key);
    assert_int_equal(X509_set_version(cert.x509, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert.x509), serial++), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert.x509),
                                  plan->from ? plan->from : CERT_FROM));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert.x509),
                                  plan->until ? plan->until : CERT_UNTIL));
    if (plan->cn)
        assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                    (const unsigned char *)plan->cn, -1,
                                                    -1, 0),
                         1);
    assert_int_equal(X509_set_issuer_name(
                         cert.x509, issuer ? X509_get_subject_name(issuer->x509) : name),
                     1);
    assert_int_equal(X509_set_pubkey(cert.x509, cert.key), 1);
    add_names(cert.x509, plan);
    if (plan->ca)
        add_ca(cert.x509);
    assert_true(X509_sign(cert.x509, issuer ? issuer->key : cert.key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509(bio, cert.x509), 1);
    cert.pem = bio_text(bio);
    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, cert.key, NULL, NULL, 0, NULL, NULL),
                     1);
    cert.text = bio_text(bio);
    return cert;
}

void
cert_done(struct cert *cert)
{
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
    free(cert->pem);
    free(cert->text);
}
