/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/limits.h - how much one vshd holds at a time. Users of the guest
 * can make connections to what somebody listens at, so those must neither use up the
 * memory of the guest nor keep anybody from its shells. */
#pragma once

#include <stdint.h>

/* Commands that run at a time. Each takes up to seven descriptors and half a megabyte of
 * queues; far above what people use, far below what would hurt a small guest. */
#define VSHD_COMMANDS_MAX 256u
/* Forwarded connections that are carried at a time, see vshd_carried_max. */
#define VSHD_CARRIED_MIN 64u
#define VSHD_CARRIED_MAX 640u
/* Connections of clients: those two, and some for requests that are not there yet. */
#define VSHD_CONNECTIONS_MAX 1024u
/* Connections above that are told so; still more are only closed. */
#define VSHD_REFUSALS_MAX 64u

/* How many connections a guest with so much memory carries: their queues, full both ways,
 * take a quarter of it at most, but for the VSHD_CARRIED_MIN that any guest carries. */
unsigned vshd_carried_max(uint64_t memory_bytes);
