/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_transport.h - a network of one host and its VMs in memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/transport.h"

struct fake_net;
struct vmt_clock;

/* All streams and connections run by timers of the clock. Returns NULL without memory. */
struct fake_net *fake_net_new(struct vmt_clock *clock);
/* After all its transports. */
void fake_net_free(struct fake_net *net);

/* The transport that a program on cid sees: VMT_CID_HOST or a guest. One per cid. Peers
 * must be added by vm_add on both sides; its address is ignored. Returns 0, -EEXIST,
 * -ENOMEM. */
int fake_net_transport(struct fake_net *net, uint32_t cid,
                       struct transport **ret_transport);

/* A hung VM answers nobody who connects to it, until the deadline. */
void fake_net_set_hung(struct fake_net *net, uint32_t cid, bool hung);
