/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/service.h - grpc.testing.TestService.
 * Source: grpc doc/interop-test-descriptions.md, Server. */
#pragma once

#include "core/rpc/server.h"

struct vmt_clock;

/* What the service needs; ctx of interop_service. */
struct interop {
    struct vmt_clock *clock; /* borrowed */
    char server_id[32];
};

extern const struct rpc_server_service interop_service;
