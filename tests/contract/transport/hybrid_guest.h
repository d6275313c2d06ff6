/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/hybrid_guest.h - the far side of the hybrid transport: what a
 * VMM does for its guest. */
#pragma once

#include <stdbool.h>

struct os_loop;
struct transport;

/* A struct transport that listens behind <dir>/vsock and connects to <dir>/vsock_<port>.
 * It knows one peer, the host; vm_add is accepted for it alone. Returns NULL on failure.
 */
struct transport *hybrid_guest_new(struct os_loop *loop, const char *dir);

/* Accept connections but never answer them. */
void hybrid_guest_set_hung(struct transport *t, bool hung);
