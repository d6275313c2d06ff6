/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/identity.c - the one name of a certificate's owner.
 * Source: RFC 5280 4.2.1.6; spiffe/spiffe, standards/X509-SVID.md, 2 "SPIFFE ID": one URI
 * and no more; grpc doc/server_side_auth.md: alternative names come before the common
 * name. */
#include <errno.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "platform/linux/tls/tls_internal.h"

static void
names_freep(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

static void
text_freep(unsigned char **text)
{
    OPENSSL_free(*text);
}

/* Cutting a name, or ending it at a NUL, would make it another's. Returns 0, -EINVAL,
 * -ENOMEM. */
static int
name_copy(const unsigned char *text, int len, char **ret)
{
    VMT_CLEANUP(vmt_freep) char *copy = NULL;

    if (len <= 0 || len > VMT_IDENTITY_MAX)
        return -EINVAL;
    for (int i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] == 0x7f)
            return -EINVAL;
    }
    copy = strndup((const char *)text, (size_t)len);
    if (!copy)
        return -ENOMEM;
    *ret = vmt_take_ptr(&copy);
    return 0;
}

/* The URI, or else the first DNS name. */
static int
identity_of_names(const GENERAL_NAMES *names, enum stream_identity_kind *ret_kind,
                  char **ret_identity)
{
    const ASN1_IA5STRING *uri = NULL, *dns = NULL, *chosen;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_URI && uri)
            return -EINVAL;
        if (name->type == GEN_URI)
            uri = name->d.uniformResourceIdentifier;
        if (name->type == GEN_DNS && !dns)
            dns = name->d.dNSName;
    }
    chosen = uri ? uri : dns;
    if (!chosen)
        return 0;
    *ret_kind = uri ? STREAM_IDENTITY_URI : STREAM_IDENTITY_DNS;
    return name_copy(ASN1_STRING_get0_data(chosen), ASN1_STRING_length(chosen),
                     ret_identity);
}

static int
identity_of_subject(const X509 *cert, enum stream_identity_kind *ret_kind,
                    char **ret_identity)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1), len;
    VMT_CLEANUP(text_freep) unsigned char *text = NULL;

    if (at < 0)
        return 0;
    if (X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return -EINVAL;
    len = ASN1_STRING_to_UTF8(&text,
                              X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (len < 0)
        return -EINVAL;
    *ret_kind = STREAM_IDENTITY_CN;
    return name_copy(text, len, ret_identity);
}

int
tls_identity(const X509 *cert, enum stream_identity_kind *ret_kind, char **ret_identity)
{
    int critical = 0, r = 0;
    VMT_CLEANUP(names_freep)
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);

    *ret_kind = STREAM_IDENTITY_NONE;
    *ret_identity = NULL;
    /* -1: there are none; otherwise they are there, but cannot be read. */
    if (!names && critical != -1)
        return -EINVAL;
    if (names)
        r = identity_of_names(names, ret_kind, ret_identity);
    if (r == 0 && !*ret_identity)
        r = identity_of_subject(cert, ret_kind, ret_identity);
    return r;
}

bool
tls_identity_is(const struct stream_peer *peer, const char *want)
{
    bool is_uri = peer->identity_kind == STREAM_IDENTITY_URI;

    return peer->identity && strcmp(peer->identity, want) == 0 &&
           is_uri == (strstr(want, "://") != NULL);
}
