/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_host_net.h - a host's network that remembers what was asked of it. */
#pragma once

#include "core/adapter/host_net.h"

/* Works, and uses no range. NULL without memory. */
struct host_net *fake_host_net_new(void);

/* check gives -error from now on; 0: it works. */
void fake_host_net_refuse(struct host_net *net, int error);
/* The next add gives -error. */
void fake_host_net_fail_add(struct host_net *net, int error);
/* The host has a route for that range. */
void fake_host_net_add_range(struct host_net *net, uint32_t address, unsigned prefix);

/* Taps that are there, also those of an earlier daemon. */
size_t fake_host_net_count(const struct host_net *net);
/* NULL: there is none of that name. */
const struct host_net_vm *fake_host_net_find(const struct host_net *net, const char *tap);
/* How often refresh was called. The next one finds that the rules were gone. */
unsigned fake_host_net_refreshs(const struct host_net *net);
void fake_host_net_flush(struct host_net *net);
/* A tap that no daemon knows of. */
void fake_host_net_leave(struct host_net *net);
