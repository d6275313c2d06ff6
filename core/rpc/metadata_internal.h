/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/metadata_internal.h - the values of gRPC's header fields as text.
 * Source of every format: grpc doc/PROTOCOL-HTTP2.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rpc/metadata.h"
#include "core/rpc/rpc.h"

/* One header field of a received block; borrowed for the call. */
struct rpc_header {
    const uint8_t *name, *value;
    size_t name_len, value_len;
};

/* Room for the longest grpc-message that a status can give, NUL included. */
#define RPC_TEXT_ENCODED_MAX (3 * (RPC_MESSAGE_TEXT_MAX - 1) + 1)
/* Room for 8 digits, a unit and NUL. */
#define RPC_TIMEOUT_TEXT_MAX 10

/* Percent-encode text into out, which has RPC_TEXT_ENCODED_MAX bytes: everything but
 * printable ASCII, and '%' itself. Text beyond RPC_MESSAGE_TEXT_MAX - 1 bytes is cut
 * between characters. Returns the length without NUL. */
size_t rpc_text_encode(char *out, const char *text);

/* The reverse for a received value, into RPC_MESSAGE_TEXT_MAX bytes. What is no valid
 * escape stays as it is, as the protocol asks; a NUL byte ends up as '?'. */
void rpc_text_decode(char *out, const uint8_t *value, size_t len);

/* Length of the first len bytes of UTF-8 text without a last character that is cut. */
size_t rpc_text_whole(const char *text, size_t len);

/* grpc-timeout for a number of milliseconds, rounded up to seconds where milliseconds do
 * not fit 8 digits. out has RPC_TIMEOUT_TEXT_MAX bytes. Returns the length. */
size_t rpc_timeout_format(char *out, uint32_t timeout_ms);

/* Returns 0 and milliseconds, rounded up, or -EINVAL. */
int rpc_timeout_parse(const uint8_t *value, size_t len, uint64_t *ret_ms);

/* Is it protobuf over gRPC: application/grpc, application/grpc+proto, either with
 * parameters? */
bool rpc_content_type_ok(const uint8_t *value, size_t len);

/* May a field with this name be metadata? See metadata.h. */
bool rpc_metadata_key_ok(const uint8_t *key, size_t len);

/* Append a received field if it is metadata: binary values are decoded, and split where
 * the peer has joined several with commas. Returns 0, -ENOMEM, -EINVAL for what is not
 * base64, -E2BIG above RPC_METADATA_COUNT_MAX; some of the values may be there then. */
int rpc_metadata_receive(struct rpc_metadata *metadata, const struct rpc_header *field);
/* The status for what rpc_metadata_receive gave. Returns status. */
struct rpc_status *rpc_metadata_status(struct rpc_status *status, int error);

/* Decimal digits that fill the value wholly. Returns 0, -EINVAL or -ERANGE above max. */
int rpc_number_parse(const uint8_t *value, size_t len, uint32_t max, uint32_t *ret);

/* The code of a grpc-status value; RPC_UNKNOWN for what is none. */
enum rpc_code rpc_code_parse(const uint8_t *value, size_t len);

/* What an HTTP status without grpc-status means.
 * Source: grpc doc/http-grpc-status-mapping.md. */
enum rpc_code rpc_code_from_http(uint32_t http_status);

/* What RST_STREAM with an HTTP/2 error code means (RFC 9113 section 7). */
enum rpc_code rpc_code_from_h2(uint32_t error_code);
