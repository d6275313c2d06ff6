/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/compress_internal.h - message encodings: their names, and gzip by zlib.
 *
 * zlib's state lives for one message only: between messages a call or connection holds
 * none of its memory, which would be up to 270 KiB. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/rpc/rpc.h"

/* What we accept, as the value of grpc-accept-encoding. */
#define RPC_ENCODINGS "identity,gzip"

/* The encoding that a grpc-encoding value names; RPC_ENCODING_COUNT: one that we do not
 * know. */
enum rpc_encoding rpc_encoding_parse(const uint8_t *value, size_t len);

/* Does a grpc-accept-encoding value, a list with commas, name gzip? */
bool rpc_encoding_offers_gzip(const uint8_t *value, size_t len);

/* Decompress gzip: one member or several (RFC 1952 section 2.2), and nothing after them;
 * of no bytes nothing becomes. *ret_data has *ret_len bytes, at most max, and is freed by
 * the caller. What it takes in memory follows what comes out, and ends at max. On failure
 * there is no *ret_data, and *ret_len says how much work it was: the bytes that came out
 * until then, at most max + 1. Returns 0, -EILSEQ for what is cut or no gzip, -EMSGSIZE
 * for more than max, -ENOMEM. */
int rpc_gunzip(const uint8_t *data, size_t len, size_t max, uint8_t **ret_data,
               size_t *ret_len);

/* Compress len >= 1 bytes into out, which has room for size bytes and does not overlap.
 * Returns the length, 0 if it would be more than size, -ENOMEM. */
ssize_t rpc_gzip(const uint8_t *data, size_t len, uint8_t *out, size_t size);
