/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/transport_connector.h - connect to a port of a VM. */
#pragma once

#include <stdint.h>

#include "core/adapter/connector.h"

struct transport;

/* cid as in struct transport_dial. The VM need not be known to the transport before the
 * first attempt; transport is borrowed for the life of the connector. Returns 0 or
 * -ENOMEM. */
int transport_connector_new(struct transport *transport, uint32_t cid, uint32_t port,
                            struct connector **ret_connector, struct vmt_err *err);
