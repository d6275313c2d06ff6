/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/net/guest.h - what a guest does on its side of a tap, in frames.
 * Addresses are IPv4 in host order. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    int fd;              /* of the tap, borrowed */
    uint8_t host_mac[6]; /* of the host's side */
    uint8_t mac[6];      /* what the guest says it has */
    uint32_t address;    /* whose ARP requests it answers */
};

/* The guest of a tap; fails the test when there is no such interface. */
void wire_init(struct wire *wire, int fd, const char *tap, const uint8_t mac[6],
               uint32_t address);

/* One UDP packet: from source:1000 to target:port, with a text as its content. */
void wire_send_udp(struct wire *wire, uint32_t source, uint32_t target, uint16_t port,
                   const char *text);
/* One echo request with a number. */
void wire_send_ping(struct wire *wire, uint32_t source, uint32_t target, uint16_t number);
/* The next UDP packet or echo reply to this guest, ARP answered meanwhile: its content,
 * or "pong NUMBER". False when none comes in time. */
bool wire_receive(struct wire *wire, char *text, size_t cap);
