/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/metadata.h - the custom metadata of a call: keys and values in order, a key as
 * often as one likes. Source: grpc doc/PROTOCOL-HTTP2.md, Custom-Metadata.
 *
 * A key has lower case letters, digits, '_', '-' and '.'. Values of keys that end in
 * "-bin" are any bytes; all others are printable ASCII without a space at either end.
 * What begins with "grpc-" or "vmt-" belongs to the protocol and is no metadata, but for
 * RPC_STATUS_DETAILS_KEY; nor are content-type, te, user-agent and the fields of HTTP
 * that concern the connection. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Trailing metadata: a packed google.rpc.Status with more about the failure. */
#define RPC_STATUS_DETAILS_KEY "grpc-status-details-bin"

/* Entries of one list, sent or received: one header field with a value of commas stands
 * for thousands of empty values. */
#define RPC_METADATA_COUNT_MAX 128u

/* Bytes of one list that is sent, as HTTP/2 counts a field: key, value on the wire and
 * 32. Stock peers take 8 KiB of header fields; gRPC's own, with the longest grpc-message,
 * need the rest. What is received is bounded by the header list (16 KiB). */
#define RPC_METADATA_BYTES_MAX 6144u

struct rpc_metadata_entry {
    const struct rpc_metadata_entry *next; /* NULL: the last */
    const char *key;
    const uint8_t *value; /* a NUL byte follows that len does not count */
    size_t len;
    const uint8_t *wire; /* value as it is sent; internal */
    size_t wire_len;
};

/* All zeroes is empty. */
struct rpc_metadata {
    struct rpc_metadata_entry *first, *last; /* owned */
    size_t n;                                /* entries */
    size_t bytes;                            /* see RPC_METADATA_BYTES_MAX */
};

/* Append a copy. Returns 0, -ENOMEM, -EINVAL for a key or a value that cannot be sent,
 * -E2BIG above RPC_METADATA_COUNT_MAX or RPC_METADATA_BYTES_MAX. The list is unchanged on
 * failure. */
int rpc_metadata_add(struct rpc_metadata *metadata, const char *key, const void *value,
                     size_t len);

/* The first entry with this key after the entry `after`, NULL: from the start. Returns
 * NULL when there is none. */
const struct rpc_metadata_entry *
rpc_metadata_find(const struct rpc_metadata *metadata, const char *key,
                  const struct rpc_metadata_entry *after);

/* Release all entries; the list is empty then. */
void rpc_metadata_done(struct rpc_metadata *metadata);
