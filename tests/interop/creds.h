/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/creds.h - the public test credentials of gRPC, see creds/README.md. */
#pragma once

/* PEM text of who signed the certificate, of the certificate and of its key. */
extern const char interop_ca_pem[];
extern const char interop_cert_pem[];
extern const char interop_key_pem[];
