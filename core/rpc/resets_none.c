/* SPDX-License-Identifier: BSD-3-Clause */
/* nghttp2 that does not count resets. */
#include "core/rpc/conn_internal.h"

void
rpc_session_leave_resets(nghttp2_option *options)
{
    (void)options;
}
