/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/net/net_world.h - a host and the world outside, each a network
 * namespace, and VMs of the host. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/host_net.h"

#define LABEL "vm_tools test"
#define BASE 0x64735c00u        /* 100.115.92.0 */
#define CONTAINERS 0x64735cc0u  /* 100.115.92.192 */
#define HOST_OUTSIDE 0xc0000201 /* 192.0.2.1, of veth0 */
#define WORLD 0xc0000202        /* 192.0.2.2, of its peer */
#define NEIGHBOUR 0xc6336409    /* 198.51.100.9, behind lan0 */
#define ECHO 7
#define CLOSED 5000
#define OFFERED 5001

/* Become the host. Returns NULL, or what this machine lacks. */
const char *net_enter(void);
/* End the world outside. */
void net_leave(void);

/* The adapter under test; the caller's. */
struct host_net *net_new(void);
/* The n-th VM, with room for containers or without. */
struct host_net_vm net_vm_at(unsigned n, bool containers);
/* Each has to work; the first returns the tap, which is the caller's. */
int net_add(struct host_net *net, struct host_net_vm *vm);
void net_drop(struct host_net *net, const struct host_net_vm *vm);
bool net_nothing_is_left(void);

/* An UDP socket of the host. */
int net_service(uint16_t port);
/* Whether a command of the shell succeeds. */
bool net_shell(const char *command);
