/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/vsock/fake_host.h - a mux with a host side in memory, and a guest that
 * speaks packets. */
#pragma once

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/vsock/mux.h"
#include "tests/unit/test.h"

#define GUEST 42u
#define HOST 2u
#define GUEST_BUF (256u * 1024)

struct end {
    struct vsock_conn *conn;
    uint32_t port;
    struct vmt_buf in;  /* what the guest sent */
    struct vmt_buf out; /* what the guest is to get */
    size_t room;        /* bytes that write takes before -EAGAIN */
    int read_error, write_error;
    bool eof, hung_up, closed, accepted;
    unsigned shut;
};

extern struct vsock_mux *mux;
extern struct end ends[2100];
extern size_t nends;
extern int open_result;        /* of the next opens */
extern uint32_t guest_fwd_cnt; /* of the next packets */
extern uint8_t payload[65536]; /* of the packet that next or expect took */

int set_up(void **state);
int tear_down(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

struct vsock_hdr packet(uint32_t guest_port, uint32_t host_port, uint16_t op,
                        uint32_t len);
void guest_sends(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags);
void guest_writes(uint32_t guest_port, uint32_t host_port, const void *data,
                  uint32_t len);

/* One packet for the guest, into a buffer for room bytes. Returns whether there was one.
 */
bool next(struct vsock_hdr *ret_hdr, size_t room);
struct vsock_hdr expect(uint16_t op);
void expect_nothing(void);

struct end *host_end(void);                     /* a new one, not connected */
struct end *guest_connected(void);              /* guest port 1000 to host port 7 */
struct end *host_connected(uint32_t *ret_port); /* host to guest port 9 */
void host_says(struct end *e, const void *data, size_t len);
