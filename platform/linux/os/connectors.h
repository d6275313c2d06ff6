/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/connectors.h - connect to a socket at a path, or by TCP. */
#pragma once

#include <stdint.h>

#include "core/adapter/connector.h"

struct os_loop;
struct vmt_err;

/* A unix stream socket. path is copied; nothing need be there before an attempt. The
 * stream's peer is what SO_PEERCRED says. Returns 0 or -ENOMEM. */
int connector_unix_new(struct os_loop *loop, const char *path,
                       struct connector **ret_connector, struct vmt_err *err);

/* TCP to a numeric IPv4 or IPv6 address: a name look-up would block. Returns 0, -EINVAL,
 * -ENOMEM. */
int connector_tcp_new(struct os_loop *loop, const char *address, uint16_t port,
                      struct connector **ret_connector, struct vmt_err *err);
