/* SPDX-License-Identifier: BSD-3-Clause */
/* nghttp2 that counts resets itself (since 1.57, and in Debian's 1.52). */
#include "core/rpc/conn_internal.h"

/* watch.c counts them by our clock, and says why; nghttp2 would stop stock clients at
 * 1000.
 */
void
rpc_session_leave_resets(nghttp2_option *options)
{
    nghttp2_option_set_stream_reset_rate_limit(options, UINT32_MAX, UINT32_MAX);
}
