/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/integration/vsock/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AVAIL = 0x1000, USED = 0x2000 };

static int
unix_socket(const char *dir, const char *name, struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    assert_true(snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s", dir, name) <
                (int)sizeof(addr->sun_path));
    return fd;
}

static int
unix_listen(const char *dir, const char *name)
{
    struct sockaddr_un addr;
    int fd = unix_socket(dir, name, &addr);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 1024), 0);
    return fd;
}

static void
exec_device(struct driver *d, int vhost, int vsock)
{
    const char *bin = getenv("VMT_BIN"), *program = getenv("VMT_VM_VSOCK");
    char path[512], dir[128], cid[32];

    (void)snprintf(path, sizeof(path), "%s/vm_vsock", bin ? bin : ".");
    (void)snprintf(dir, sizeof(dir), "--uds-dir=%s", d->dir);
    (void)snprintf(cid, sizeof(cid), "--guest-cid=%u", CID);
    /* Above what they become, so that neither is overwritten. */
    vhost = fcntl(vhost, F_DUPFD, 10);
    vsock = fcntl(vsock, F_DUPFD, 10);
    (void)dup2(vhost, 3);
    (void)dup2(vsock, 4);
    (void)close(vhost);
    (void)close(vsock);
    if (!program)
        program = path;
    (void)execl(program, program, cid, "--vhost-fd=3", "--vsock-fd=4", dir, NULL);
    _exit(127);
}

void
driver_spawn(struct driver *d)
{
    struct rlimit limit;
    int vhost, vsock;

    /* Both ends of a thousand connections. */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    *d = (struct driver){.sock = -1, .memfd = -1};
    (void)snprintf(d->dir, sizeof(d->dir), "/tmp/vmt-vsock-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    vhost = unix_listen(d->dir, "vhost");
    vsock = unix_listen(d->dir, "vsock");
    d->pid = fork();
    assert_true(d->pid >= 0);
    if (d->pid == 0)
        exec_device(d, vhost, vsock);
    (void)close(vhost);
    (void)close(vsock);
}

void
driver_reap(struct driver *d)
{
    char command[128];
    int status = -1;

    driver_detach(d);
    assert_int_equal(kill(d->pid, SIGTERM), 0);
    assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
    (void)snprintf(command, sizeof(command), "rm -r %s", d->dir);
    assert_int_equal(system(command), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void
driver_assert_alive(struct driver *d)
{
    assert_int_equal(waitpid(d->pid, NULL, WNOHANG), 0);
}

long
driver_rss_kib(const struct driver *d)
{
    char path[64], line[256];
    long kib = -1;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", d->pid);
    f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    }
    (void)fclose(f);
    assert_true(kib > 0);
    return kib;
}

static void
wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
}

void
message_send(struct driver *d, uint32_t request, uint32_t flags, const void *body,
             size_t len, const int *fds, size_t nfds)
{
    uint8_t out[2048];
    uint32_t header[3] = {request, 1 | flags, (uint32_t)len};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 64)];
    } control = {0};
    struct iovec iov = {out, sizeof(header) + len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    assert_true(len <= sizeof(out) - sizeof(header));
    memcpy(out, header, sizeof(header));
    if (len)
        memcpy(out + sizeof(header), body, len);
    if (nfds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
        CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
        CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, sizeof(int) * nfds);
    }
    assert_int_equal(sendmsg(d->sock, &msg, MSG_NOSIGNAL), iov.iov_len);
}

void
message_reply(struct driver *d, uint32_t request, void *body, size_t len)
{
    uint32_t header[3];

    wait_readable(d->sock);
    assert_int_equal(recv(d->sock, header, sizeof(header), MSG_WAITALL), sizeof(header));
    assert_int_equal(header[0], request);
    assert_int_equal(header[1], 1 | 4);
    assert_int_equal(header[2], len);
    assert_int_equal(recv(d->sock, body, len, MSG_WAITALL), len);
}

uint64_t
message_acked(struct driver *d, uint32_t request, const void *body, size_t len,
              const int *fds, size_t nfds)
{
    uint64_t value = 99;

    message_send(d, request, NEED_REPLY, body, len, fds, nfds);
    message_reply(d, request, &value, sizeof(value));
    return value;
}

void
message_expect_close(struct driver *d)
{
    uint8_t byte;

    wait_readable(d->sock);
    assert_true(recv(d->sock, &byte, 1, 0) <= 0);
    (void)close(d->sock);
    d->sock = -1;
    driver_assert_alive(d);
}

void
ring_message(struct driver *d, uint32_t request, uint32_t index, uint32_t value)
{
    uint32_t body[2] = {index, value};

    assert_int_equal(message_acked(d, request, body, sizeof(body), NULL, 0), 0);
}

void
ring_addr(struct driver *d, uint32_t index)
{
    uint64_t at = USER_BASE + d->q[index].at;
    uint64_t body[5] = {index, at, at + USED, at + AVAIL, 0};

    assert_int_equal(message_acked(d, SET_VRING_ADDR, body, sizeof(body), NULL, 0), 0);
}

void
ring_fd(struct driver *d, uint32_t request, uint32_t index, int fd)
{
    uint64_t body = index;

    assert_int_equal(message_acked(d, request, &body, sizeof(body), &fd, 1), 0);
}

void
memory_table(struct driver *d, uint8_t out[8 + 2 * 32])
{
    uint32_t n[2] = {2, 0};
    uint64_t regions[2][4] = {
        {0, GUEST_SPLIT, USER_BASE, 0},
        {GUEST_SPLIT, MEMORY_BYTES - GUEST_SPLIT, USER_BASE + GUEST_SPLIT, GUEST_SPLIT}};

    (void)d;
    memcpy(out, n, sizeof(n));
    memcpy(out + sizeof(n), regions, sizeof(regions));
}

void
driver_connect(struct driver *d)
{
    struct sockaddr_un addr;

    d->sock = unix_socket(d->dir, "vhost", &addr);
    assert_int_equal(connect(d->sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void
driver_memory(struct driver *d)
{
    uint8_t table[8 + 2 * 32];
    int fds[2];
    void *mem;

    d->memfd = memfd_create("guest", MFD_CLOEXEC);
    assert_true(d->memfd >= 0);
    assert_int_equal(ftruncate(d->memfd, MEMORY_BYTES), 0);
    mem = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, d->memfd, 0);
    assert_ptr_not_equal(mem, MAP_FAILED);
    d->mem = mem;
    memory_table(d, table);
    fds[0] = fds[1] = d->memfd;
    assert_int_equal(message_acked(d, SET_MEM_TABLE, table, sizeof(table), fds, 2), 0);
}

static void
driver_queue(struct driver *d, uint32_t index)
{
    struct queue *q = &d->q[index];

    *q = (struct queue){.at = 0x10000 * (index + 1)};
    q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ring_message(d, SET_VRING_NUM, index, RING_SIZE);
    ring_message(d, SET_VRING_BASE, index, 0);
    ring_addr(d, index);
    ring_fd(d, SET_VRING_CALL, index, q->call);
    ring_fd(d, SET_VRING_ERR, index, q->err);
    ring_fd(d, SET_VRING_KICK, index, q->kick);
    ring_message(d, SET_VRING_ENABLE, index, 1);
}

void
driver_attach(struct driver *d, uint64_t features)
{
    uint64_t value = 0;

    driver_connect(d);
    message_send(d, GET_FEATURES, 0, NULL, 0, NULL, 0);
    message_reply(d, GET_FEATURES, &value, sizeof(value));
    assert_int_equal(value, F_VERSION_1 | F_INDIRECT | F_EVENT_IDX | F_PROTOCOL);
    message_send(d, GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
    message_reply(d, GET_PROTOCOL_FEATURES, &value, sizeof(value));
    assert_int_equal(value, 1 << 0 | 1 << 3 | 1 << 9);
    message_send(d, SET_PROTOCOL_FEATURES, 0, &value, sizeof(value), NULL, 0);
    message_send(d, SET_OWNER, 0, NULL, 0, NULL, 0);
    d->features = features | F_VERSION_1 | F_PROTOCOL;
    assert_int_equal(message_acked(d, SET_FEATURES, &d->features, 8, NULL, 0), 0);
    driver_memory(d);
    driver_queue(d, 0);
    driver_queue(d, 1);
    memset(d->tx_busy, 0, sizeof(d->tx_busy));
    d->fwd_cnt = 0;
    for (uint16_t i = 0; i < RING_SIZE; i++)
        post_rx(d, i);
    ring_kick(d, 0);
}

void
driver_detach(struct driver *d)
{
    if (d->sock >= 0)
        (void)close(d->sock);
    d->sock = -1;
    if (!d->mem)
        return;
    (void)munmap(d->mem, MEMORY_BYTES);
    d->mem = NULL;
    (void)close(d->memfd);
    for (int i = 0; i < 2; i++) {
        (void)close(d->q[i].kick);
        (void)close(d->q[i].call);
        (void)close(d->q[i].err);
    }
}

static _Atomic uint16_t *
word(struct driver *d, unsigned queue, uint32_t off)
{
    return (_Atomic uint16_t *)(void *)(d->mem + d->q[queue].at + off);
}

struct desc *
ring_desc(struct driver *d, unsigned queue, unsigned index)
{
    return (struct desc *)(void *)(d->mem + d->q[queue].at) + index;
}

void
ring_set_avail(struct driver *d, unsigned queue, uint16_t index)
{
    d->q[queue].avail = index;
    atomic_store(word(d, queue, AVAIL + 2), index);
}

void
ring_publish(struct driver *d, unsigned queue, uint16_t head)
{
    uint16_t at = d->q[queue].avail;

    atomic_store(word(d, queue, AVAIL + 4 + 2 * (at % RING_SIZE)), head);
    ring_set_avail(d, queue, (uint16_t)(at + 1));
}

void
ring_kick(struct driver *d, unsigned queue)
{
    uint64_t one = 1;

    assert_int_equal(write(d->q[queue].kick, &one, sizeof(one)), sizeof(one));
}

/* Notify vm_vsock of what was published since before, if it wants to hear of it: a lost
 * wake-up on either side becomes a test that hangs. */
static void
ring_notify(struct driver *d, unsigned queue, uint16_t before)
{
    uint16_t now = d->q[queue].avail, event;

    atomic_thread_fence(memory_order_seq_cst);
    if (d->features & F_EVENT_IDX) {
        event = atomic_load(word(d, queue, USED + 4 + 8 * RING_SIZE));
        if ((uint16_t)(now - event - 1) < (uint16_t)(now - before))
            ring_kick(d, queue);
    } else if (!(atomic_load(word(d, queue, USED)) & 1)) {
        ring_kick(d, queue);
    }
}

void
ring_expect_error(struct driver *d, unsigned queue)
{
    wait_readable(d->q[queue].err);
    driver_assert_alive(d);
}

void
post_rx(struct driver *d, uint16_t slot)
{
    *ring_desc(d, 0, slot) = (struct desc){RX_BUFFERS + (uint64_t)slot * RX_BUFFER_BYTES,
                                           RX_ROOM, DESC_WRITE, 0};
    ring_publish(d, 0, slot);
}

/* Returns whether an entry was there. */
static bool
take_used(struct driver *d, unsigned queue, uint32_t *ret_id, uint32_t *ret_len)
{
    struct queue *q = &d->q[queue];
    const uint8_t *elem = d->mem + q->at + USED + 4 + 8 * (q->used % RING_SIZE);

    if (atomic_load(word(d, queue, USED + 2)) == q->used)
        return false;
    memcpy(ret_id, elem, 4);
    memcpy(ret_len, elem + 4, 4);
    q->used++;
    return true;
}

/* Wait for a used entry by interrupt. */
static bool
wait_used(struct driver *d, unsigned queue, uint32_t *ret_id, uint32_t *ret_len, int ms)
{
    struct pollfd p = {.fd = d->q[queue].call, .events = POLLIN};
    uint64_t n;

    for (;;) {
        if (take_used(d, queue, ret_id, ret_len))
            return true;
        atomic_store(word(d, queue, AVAIL + 4 + 2 * RING_SIZE), d->q[queue].used);
        atomic_store(word(d, queue, AVAIL), 0);
        atomic_thread_fence(memory_order_seq_cst);
        if (take_used(d, queue, ret_id, ret_len))
            return true;
        if (poll(&p, 1, ms) == 0)
            return false;
        (void)!read(d->q[queue].call, &n, sizeof(n));
        driver_assert_alive(d);
    }
}

static uint16_t
tx_slot(struct driver *d)
{
    uint32_t id, len;

    while (take_used(d, 1, &id, &len))
        d->tx_busy[id / 4] = false;
    for (;;) {
        for (uint16_t i = 0; i < TX_SLOTS; i++) {
            if (!d->tx_busy[i])
                return i;
        }
        assert_true(wait_used(d, 1, &id, &len, DEADLINE_MS));
        d->tx_busy[id / 4] = false;
    }
}

struct vsock_hdr
packet(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t len)
{
    return (struct vsock_hdr){
        .src_cid = CID,
        .dst_cid = 2,
        .src_port = guest_port,
        .dst_port = host_port,
        .len = len,
        .type = VSOCK_TYPE_STREAM,
        .op = op,
        .buf_alloc = 256 * 1024,
    };
}

/* The header on its own, then the payload in two parts: as three descriptors, direct or
 * in a table. Four descriptors belong to each slot. */
void
send_packet(struct driver *d, const struct vsock_hdr *hdr, const void *payload,
            size_t len)
{
    struct vsock_hdr h = *hdr;
    uint16_t slot = tx_slot(d), before = d->q[1].avail, base = (uint16_t)(4 * slot);
    uint64_t at = TX_BUFFERS + (uint64_t)slot * TX_BUFFER_BYTES;
    bool indirect = d->features & F_INDIRECT;
    struct desc *t = indirect ? (struct desc *)(void *)(d->mem + TABLES + 64 * slot)
                              : ring_desc(d, 1, base);
    uint16_t first = indirect ? 0 : base;
    uint32_t half = (uint32_t)len / 3;

    assert_true(len <= TX_PAYLOAD_MAX);
    h.fwd_cnt = d->fwd_cnt;
    vsock_hdr_encode(&h, d->mem + at);
    if (len)
        memcpy(d->mem + at + VSOCK_HDR_BYTES, payload, len);
    at += VSOCK_HDR_BYTES;
    t[0] = (struct desc){at - VSOCK_HDR_BYTES, VSOCK_HDR_BYTES, 0, 0};
    if (len >= 3) {
        t[0].flags = t[1].flags = DESC_NEXT;
        t[0].next = (uint16_t)(first + 1);
        t[1] = (struct desc){at, half, DESC_NEXT, (uint16_t)(first + 2)};
        t[2] = (struct desc){at + half, (uint32_t)len - half, 0, 0};
    } else {
        t[0].len += (uint32_t)len;
    }
    if (indirect)
        *ring_desc(d, 1, base) =
            (struct desc){TABLES + 64u * slot, len >= 3 ? 48 : 16, DESC_INDIRECT, 0};
    d->tx_busy[slot] = true;
    ring_publish(d, 1, base);
    ring_notify(d, 1, before);
}

void
send_op(struct driver *d, uint32_t guest_port, uint32_t host_port, uint16_t op)
{
    struct vsock_hdr hdr = packet(guest_port, host_port, op, 0);

    send_packet(d, &hdr, NULL, 0);
}

bool
take_packet(struct driver *d, struct vsock_hdr *ret_hdr, uint8_t *payload, int ms)
{
    uint16_t before = d->q[0].avail;
    uint32_t id, len;
    const uint8_t *data;

    if (!wait_used(d, 0, &id, &len, ms))
        return false;
    data = d->mem + RX_BUFFERS + (size_t)id * RX_BUFFER_BYTES;
    assert_int_equal(vsock_hdr_decode(data, len, ret_hdr), 0);
    assert_int_equal(len, VSOCK_HDR_BYTES + ret_hdr->len);
    if (payload)
        memcpy(payload, data + VSOCK_HDR_BYTES, ret_hdr->len);
    post_rx(d, (uint16_t)id);
    ring_notify(d, 0, before);
    return true;
}

struct vsock_hdr
expect_packet(struct driver *d, uint16_t op, uint8_t *payload)
{
    struct vsock_hdr hdr = {0};

    assert_true(take_packet(d, &hdr, payload, DEADLINE_MS));
    assert_int_equal(hdr.op, op);
    return hdr;
}

int
host_listen(struct driver *d, uint32_t port)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "vsock_%u", port);
    return unix_listen(d->dir, name);
}

int
host_accept(int listener)
{
    int fd;

    wait_readable(listener);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

int
host_connect(struct driver *d, uint32_t port)
{
    struct sockaddr_un addr;
    int fd = unix_socket(d->dir, "vsock", &addr);
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

    wait_readable(fd);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

void
host_expect(int fd, const char *text)
{
    char got[64] = {0};

    for (size_t n = 0; n < strlen(text);) {
        ssize_t r;

        wait_readable(fd);
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
