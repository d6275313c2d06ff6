/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vsock/driver_host.c - programs on the host and their unix sockets. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/integration/vsock/driver_internal.h"

int
driver_unix_socket(const char *dir, const char *name, struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    assert_true(snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s", dir, name) <
                (int)sizeof(addr->sun_path));
    return fd;
}

int
driver_unix_listen(const char *dir, const char *name)
{
    struct sockaddr_un addr;
    int fd = driver_unix_socket(dir, name, &addr);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 1024), 0);
    return fd;
}

void
driver_wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
}

int
host_listen(struct driver *d, uint32_t port)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "vsock_%u", port);
    return driver_unix_listen(d->dir, name);
}

int
host_accept(int listener)
{
    int fd;

    driver_wait_readable(listener);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

int
host_connect(struct driver *d, uint32_t port)
{
    struct sockaddr_un addr;
    int fd = driver_unix_socket(d->dir, "vsock", &addr);
    char line[32];
    int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);

    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(send(fd, line, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

void
host_expect_eof(int fd)
{
    char byte;

    driver_wait_readable(fd);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

void
host_expect(int fd, const char *text)
{
    char got[64] = {0};

    for (size_t n = 0; n < strlen(text);) {
        ssize_t r;

        driver_wait_readable(fd);
        r = recv(fd, got + n, strlen(text) - n, 0);
        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_string_equal(got, text);
}

int
open_to_host(struct driver *d, int listener, uint32_t guest_port, uint32_t port)
{
    struct vsock_hdr hdr;

    send_op(d, guest_port, port, VSOCK_OP_REQUEST);
    hdr = expect_packet(d, VSOCK_OP_RESPONSE, NULL);
    assert_int_equal(hdr.src_cid, 2);
    assert_int_equal(hdr.dst_cid, CID);
    assert_int_equal(hdr.src_port, port);
    assert_int_equal(hdr.dst_port, guest_port);
    return host_accept(listener);
}

static void
assert_bytes_pass(struct driver *d, int fd, uint32_t guest_port, uint32_t host_port)
{
    struct vsock_hdr hdr = packet(guest_port, host_port, VSOCK_OP_RW, 5);
    uint8_t payload[4096];

    send_packet(d, &hdr, "hello", 5);
    host_expect(fd, "hello");
    assert_int_equal(send(fd, "world!", 6, MSG_NOSIGNAL), 6);
    hdr = expect_packet(d, VSOCK_OP_RW, payload);
    assert_int_equal(hdr.len, 6);
    assert_memory_equal(payload, "world!", 6);
}

void
assert_works(struct driver *d)
{
    static uint32_t port = 50000; /* each time others: connections of before may linger */
    char answer[32], name[128];
    struct vsock_hdr hdr;
    int listener, fd;

    port++;
    listener = host_listen(d, port);
    fd = open_to_host(d, listener, port, port);
    assert_bytes_pass(d, fd, port, port);
    send_op(d, port, port, VSOCK_OP_RST);
    host_expect_eof(fd);
    (void)close(fd);
    (void)close(listener);
    (void)snprintf(name, sizeof(name), "%s/vsock_%u", d->dir, port);
    (void)unlink(name);

    fd = host_connect(d, port);
    hdr = expect_packet(d, VSOCK_OP_REQUEST, NULL);
    assert_int_equal(hdr.dst_port, port);
    send_op(d, port, hdr.src_port, VSOCK_OP_RESPONSE);
    (void)snprintf(answer, sizeof(answer), "OK %u\n", hdr.src_port);
    host_expect(fd, answer);
    assert_bytes_pass(d, fd, port, hdr.src_port);
    send_op(d, port, hdr.src_port, VSOCK_OP_RST);
    host_expect_eof(fd);
    (void)close(fd);
    driver_assert_alive(d);
}

void
assert_recovers(struct driver *d)
{
    driver_detach(d);
    driver_attach(d, F_EVENT_IDX | F_INDIRECT);
    assert_works(d);
}
