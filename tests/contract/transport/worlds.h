/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/worlds.h - worlds on the real loop. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>

#include "tests/contract/transport/transport_contract.h"

struct os_loop;

#define WORLD_DEADLINE_MS 30000

struct real_world {
    struct contract_world base;
    struct os_loop *loop;
    char dir[64]; /* hybrid: the sockets; "" otherwise */
    int held[16]; /* descriptors that make the vm hang; owned */
    size_t nheld;
    void (*done)(struct real_world *w); /* release what goes after the transports */
    void *own;                          /* for the world's own file */
};

/* A world with a loop and without transports; NULL without memory. */
struct real_world *real_world_new(void);
void real_world_free(struct contract_world *w);

/* Keep fd until the world ends; returns it. */
int real_world_hold(struct real_world *self, int fd);

/* 127.0.0.1, where worlds on TCP are. */
struct sockaddr_in tcp_world_address(uint32_t port);
/* Listen at w->port, or at a later one that is free, and accept nobody. */
void tcp_world_hang(struct contract_world *w, int backlog);

/* Say "alive" by fd, unless it is -1, and wait to be killed; returns if that fails. */
void real_world_wait(int fd);
