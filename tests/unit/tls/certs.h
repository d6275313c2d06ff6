/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/tls/certs.h - certificates made while the test runs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

/* Around the 1700000000 at which the fake clock starts. */
#define CERT_FROM 1690000000
#define CERT_UNTIL 1710000000

struct cert {
    X509 *x509;       /* owned */
    EVP_PKEY *key;    /* owned */
    char *pem, *text; /* owned; the certificate, the private key */
};

struct cert_plan {
    const char *cn;
    const char *uri, *dns, *ip; /* subject alternative names; NULL: none */
    int uri_len;                /* bytes of uri, NUL and all; 0: as C has it */
    const char *second_uri;
    int64_t from, until; /* 0: CERT_FROM and CERT_UNTIL */
    bool ca;
};

/* Fails the test when it cannot. issuer NULL: by itself. */
struct cert cert_make(const struct cert_plan *plan, const struct cert *issuer);
void cert_done(struct cert *cert);
