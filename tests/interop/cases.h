/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/cases.h - the test cases of gRPC's interoperability tests.
 * Source: grpc doc/interop-test-descriptions.md, Client. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct caller;

struct interop_case {
    const char *name;
    bool (*run)(struct caller *caller); /* false: caller->why says why */
};

extern const struct interop_case interop_cases[];
extern const size_t ninterop_cases;

/* NULL: no such case. */
const struct interop_case *interop_case_find(const char *name);

/* cases_compressed.c */
bool case_client_compressed_unary(struct caller *caller);
bool case_server_compressed_unary(struct caller *caller);
bool case_client_compressed_streaming(struct caller *caller);
bool case_server_compressed_streaming(struct caller *caller);

/* Sizes of payloads, as the descriptions give them. */
#define LARGE_REQUEST 271828
#define LARGE_RESPONSE 314159
