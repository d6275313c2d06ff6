/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/integration/vsock/driver.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/vsock/driver_internal.h"

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
    vhost = driver_unix_listen(d->dir, "vhost");
    vsock = driver_unix_listen(d->dir, "vsock");
    d->pid = fork();
    assert_true(d->pid >= 0);
    if (d->pid == 0)
        exec_device(d, vhost, vsock);
    (void)close(vhost);
    (void)close(vsock);
    d->worker = driver_worker(d, 0);
}

pid_t
driver_worker(const struct driver *d, pid_t old)
{
    struct timespec pause = {.tv_nsec = 1000000};
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", d->pid, d->pid);
    for (int ms = 0; ms < DEADLINE_MS; ms++) {
        FILE *f = fopen(path, "re");
        long pid = 0;

        assert_non_null(f);
        if (fscanf(f, "%ld", &pid) != 1)
            pid = 0;
        (void)fclose(f);
        if (pid && pid != old)
            return (pid_t)pid;
        (void)nanosleep(&pause, NULL);
    }
    fail_msg("vm_vsock has no worker");
    return 0;
}

void
driver_remove(struct driver *d)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -r %s", d->dir);
    assert_int_equal(system(command), 0);
}

void
driver_reap(struct driver *d)
{
    int status = -1;

    driver_detach(d);
    driver_assert_alive(d);
    assert_int_equal(kill(d->pid, SIGTERM), 0);
    assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
    driver_remove(d);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void
driver_assert_alive(struct driver *d)
{
    if (!d->pid) { /* the worker is on its own */
        assert_int_equal(waitpid(d->worker, NULL, WNOHANG), 0);
        return;
    }
    assert_int_equal(waitpid(d->pid, NULL, WNOHANG), 0);
    assert_int_equal(driver_worker(d, 0), d->worker);
}

long
driver_rss_kib(const struct driver *d)
{
    char path[64], line[256];
    long kib = -1;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", driver_worker(d, 0));
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

/* The device may buffer 64 MiB. Sanitizers keep up to 256 MiB of freed memory. */
long
driver_rss_max_kib(void)
{
    return getenv("VMT_VM_VSOCK") ? 72 * 1024 : 500 * 1024;
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

    driver_wait_readable(d->sock);
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

    driver_wait_readable(d->sock);
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
    uint64_t body[5] = {index, at, at + RING_USED, at + RING_AVAIL, 0};

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

    d->sock = driver_unix_socket(d->dir, "vhost", &addr);
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
