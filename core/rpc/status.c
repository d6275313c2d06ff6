/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>

#include "core/base/cleanup.h"
#include "core/rpc/metadata_internal.h"
#include "core/rpc/rpc.h"

static const char *const code_names[] = {
    [RPC_OK] = "OK",
    [RPC_CANCELLED] = "CANCELLED",
    [RPC_UNKNOWN] = "UNKNOWN",
    [RPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
    [RPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
    [RPC_NOT_FOUND] = "NOT_FOUND",
    [RPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
    [RPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
    [RPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
    [RPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
    [RPC_ABORTED] = "ABORTED",
    [RPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
    [RPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
    [RPC_INTERNAL] = "INTERNAL",
    [RPC_UNAVAILABLE] = "UNAVAILABLE",
    [RPC_DATA_LOSS] = "DATA_LOSS",
    [RPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};
_Static_assert(VMT_ARRAY_SIZE(code_names) == RPC_CODE_COUNT, "one name per code");

const char *
rpc_code_name(enum rpc_code code)
{
    if ((unsigned)code >= RPC_CODE_COUNT)
        return code_names[RPC_UNKNOWN];
    return code_names[code];
}

struct rpc_status *
rpc_status_vset(struct rpc_status *status, enum rpc_code code, const char *fmt,
                va_list args)
{
    int n = vsnprintf(status->text, sizeof(status->text), fmt, args);

    status->code = code;
    if (n < 0)
        status->text[0] = '\0';
    if (n >= (int)sizeof(status->text))
        status->text[rpc_text_whole(status->text, sizeof(status->text) - 1)] = '\0';
    return status;
}

struct rpc_status *
rpc_status_set(struct rpc_status *status, enum rpc_code code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)rpc_status_vset(status, code, fmt, args);
    va_end(args);
    return status;
}
