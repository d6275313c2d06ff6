/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vsock/driver.h - a VMM and a guest's driver in one: speaks vhost-user
 * to a real vm_vsock process and runs the queues in shared memory. Whatever goes wrong
 * fails the test that called. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/vsock/packet.h"
#include "tests/unit/test.h"

#define CID 42u
#define RING_SIZE 128u
#define DEADLINE_MS 60000

#define F_INDIRECT (1ull << 28)
#define F_EVENT_IDX (1ull << 29)
#define F_PROTOCOL (1ull << 30)
#define F_VERSION_1 (1ull << 32)

/* vhost-user requests */
enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    RESET_OWNER = 4,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    SET_VRING_ERR = 14,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    GET_QUEUE_NUM = 17,
    SET_VRING_ENABLE = 18,
    GET_CONFIG = 24,
};
#define NEED_REPLY 8u

/* Guest memory: two regions of one file that meet at GUEST_SPLIT, so that buffers there
 * are in two pieces. The guest's address is the offset in the file; the frontend's is
 * USER_BASE above it. */
#define MEMORY_BYTES (16u << 20)
#define GUEST_SPLIT (8u << 20)
#define USER_BASE 0x7000000000ull
#define RX_BUFFERS 0x100000u
#define RX_BUFFER_BYTES 4608u
#define RX_ROOM (44u + 4096u)
#define TX_BUFFERS (GUEST_SPLIT - 0x21000u) /* one of them lies across the border */
#define TX_BUFFER_BYTES 0x11000u
#define TX_SLOTS 32u
#define TX_PAYLOAD_MAX 65536u
#define TABLES 0xf00000u /* indirect tables */

#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct queue {
    uint32_t
        at; /* offset of descriptors; available ring 0x1000, used ring 0x2000 later */
    int kick, call, err;
    uint16_t avail, used; /* next index to write, to read */
};

struct driver {
    pid_t pid;    /* of vm_vsock, the keeper; 0: it was killed, and the worker is ours */
    pid_t worker; /* the one that was there first; see driver_worker */
    char dir[64];
    int sock; /* vhost-user, -1: not connected */
    int memfd;
    uint8_t *mem;
    uint64_t features;
    struct queue q[2]; /* rx, tx */
    bool tx_busy[TX_SLOTS];
    uint32_t fwd_cnt; /* for the header of the next packets */
};

/* A process; its directory is new. */
void driver_spawn(struct driver *d);
/* SIGTERM; asserts that it ends with exit code 0, which is its worker's, too. */
void driver_reap(struct driver *d);
/* Its directory goes. */
void driver_remove(struct driver *d);
/* And that its worker is the one that it was: nothing that a guest or VMM does ends it.
 */
void driver_assert_alive(struct driver *d);
/* The worker that serves now; waits until there is one other than old. */
pid_t driver_worker(const struct driver *d, pid_t old);
/* Private memory of the worker in KiB. */
long driver_rss_kib(const struct driver *d);
/* As much of it as a hostile guest may cost, in KiB. */
long driver_rss_max_kib(void);

/* Connect a frontend and set everything up; all receive buffers are posted. */
void driver_attach(struct driver *d, uint64_t features);
void driver_detach(struct driver *d);
/* Only the connection, no message. */
void driver_connect(struct driver *d);

/* One message. fds may be NULL. */
void message_send(struct driver *d, uint32_t request, uint32_t flags, const void *body,
                  size_t len, const int *fds, size_t nfds);
/* The reply to request; asserts its length. */
void message_reply(struct driver *d, uint32_t request, void *body, size_t len);
/* A message with NEED_REPLY; the value of the acknowledgement. */
uint64_t message_acked(struct driver *d, uint32_t request, const void *body, size_t len,
                       const int *fds, size_t nfds);
/* Waits until vm_vsock closes the frontend's connection. */
void message_expect_close(struct driver *d);
void ring_message(struct driver *d, uint32_t request, uint32_t index, uint32_t value);
void ring_addr(struct driver *d, uint32_t index);
void ring_fd(struct driver *d, uint32_t request, uint32_t index, int fd);
void memory_table(struct driver *d, uint8_t out[8 + 2 * 32]);

/* Ring primitives, for hostile use too. */
struct desc *ring_desc(struct driver *d, unsigned queue, unsigned index);
void ring_publish(struct driver *d, unsigned queue, uint16_t head);
void ring_set_avail(struct driver *d, unsigned queue, uint16_t index);
void ring_kick(struct driver *d, unsigned queue);
/* Waits until vm_vsock reports the queue as broken. */
void ring_expect_error(struct driver *d, unsigned queue);

struct vsock_hdr packet(uint32_t guest_port, uint32_t host_port, uint16_t op,
                        uint32_t len);
/* Send; waits for room. */
void send_packet(struct driver *d, const struct vsock_hdr *hdr, const void *payload,
                 size_t len);
void send_op(struct driver *d, uint32_t guest_port, uint32_t host_port, uint16_t op);
/* Take the next packet for the guest; payload has room for 4096 bytes, may be NULL.
 * Returns false when none came within ms. */
bool take_packet(struct driver *d, struct vsock_hdr *ret_hdr, uint8_t *payload, int ms);
/* The same without giving its buffer back: there is one less from then on. */
bool keep_packet(struct driver *d, struct vsock_hdr *ret_hdr);
struct vsock_hdr expect_packet(struct driver *d, uint16_t op, uint8_t *payload);
/* The buffer goes back by itself; without this one is posted, see post_rx. */
void post_rx(struct driver *d, uint16_t slot);

/* Host side. */
int host_listen(struct driver *d, uint32_t port);
int host_connect(struct driver *d, uint32_t port); /* "CONNECT port" was sent */
int host_accept(int listener);
void host_expect_eof(int fd);
void host_expect(int fd, const char *text);

/* A connection from guest_port to a listener at host port; the accepted host side. */
int open_to_host(struct driver *d, int listener, uint32_t guest_port, uint32_t port);
/* A connection both ways and a few bytes through each: everything works. */
void assert_works(struct driver *d);
/* The same with the next frontend. */
void assert_recovers(struct driver *d);
