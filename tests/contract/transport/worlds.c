/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/worlds.c - a host and a guest for each transport. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket.h"
#include "tests/contract/transport/hybrid_guest.h"
#include "tests/contract/transport/transport_contract.h"
#include "tests/contract/transport/worlds.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_transport.h"

/* It allocates what it carries. */
#define FAKE_BULK (64u << 20)

struct fake_world {
    struct contract_world base;
    struct fake_clock *clock;
    struct fake_net *net;
};

static struct real_world *
real_of(struct contract_world *w)
{
    return VMT_CONTAINER_OF(w, struct real_world, base);
}

int
real_world_hold(struct real_world *self, int fd)
{
    if (fd < 0 || self->nheld == VMT_ARRAY_SIZE(self->held))
        abort();
    self->held[self->nheld++] = fd;
    return fd;
}

static int
tcp_socket(struct real_world *self, int flags)
{
    return real_world_hold(self, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

struct sockaddr_in
tcp_world_address(uint32_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void
tcp_world_hang(struct contract_world *w, int backlog)
{
    int fd = tcp_socket(real_of(w), 0);
    struct sockaddr_in to = tcp_world_address(w->port);

    while (bind(fd, (struct sockaddr *)(void *)&to, sizeof(to)) < 0)
        to = tcp_world_address(++w->port);
    if (listen(fd, backlog) < 0)
        abort();
}

/* Nobody accepts and the backlog is full: the kernel lets new ones wait without a word.
 */
static void
tcp_set_hung(struct contract_world *w, bool hung)
{
    struct sockaddr_in to;
    int pending = 1;

    (void)hung;
    tcp_world_hang(w, 0);
    to = tcp_world_address(w->port);
    while (pending) {
        int fd = tcp_socket(real_of(w), SOCK_NONBLOCK);
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        (void)connect(fd, (struct sockaddr *)(void *)&to, sizeof(to));
        pending = poll(&p, 1, 200);
    }
}

static void
tcp_speak_and_wait(struct contract_world *w, uint32_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = tcp_world_address(port);

    (void)w;
    if (connect(fd, (struct sockaddr *)(void *)&to, sizeof(to)) == 0)
        real_world_wait(fd);
}

struct contract_world *
contract_world_tcp(void)
{
    struct real_world *self = real_world_new();

    if (!self)
        return NULL;
    self->base.vm_cid = 33;
    self->base.host_cid = VMT_CID_HOST;
    self->base.vm_address = self->base.host_address = "127.0.0.1";
    self->base.port = 20000 + (uint32_t)rand() % 20000;
    self->base.peer_kind = STREAM_PEER_TCP;
    self->base.set_hung = tcp_set_hung;
    self->base.speak_and_wait = tcp_speak_and_wait;
    if (transport_tcp_new(self->loop, NULL, &self->base.host, NULL) < 0 ||
        transport_tcp_new(self->loop, NULL, &self->base.guest, NULL) < 0) {
        real_world_free(&self->base);
        return NULL;
    }
    return &self->base;
}

/* The host behind the device of this guest has a listener that accepts nobody. */
static void
vsock_set_hung(struct contract_world *w, bool hung)
{
    (void)hung;
    w->vm_cid = VMADDR_CID_HOST;
    if (w->host->ops->vm_add(w->host, w->vm_cid, NULL, NULL) < 0)
        abort();
}

static void
vsock_speak_and_wait(struct contract_world *w, uint32_t port)
{
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_vm to = {
        .svm_family = AF_VSOCK, .svm_cid = w->host_cid, .svm_port = port};

    if (connect(fd, (struct sockaddr *)(void *)&to, sizeof(to)) == 0)
        real_world_wait(fd);
}

/* Both sides in one guest, by the loopback cid. Source: vsock(7), VMADDR_CID_LOCAL. */
struct contract_world *
contract_world_vsock(void)
{
    struct real_world *self = real_world_new();

    if (!self)
        return NULL;
    self->base.vm_cid = self->base.host_cid = VMADDR_CID_LOCAL;
    self->base.port = 20000;
    self->base.peer_kind = STREAM_PEER_VSOCK;
    self->base.set_hung = vsock_set_hung;
    self->base.speak_and_wait = vsock_speak_and_wait;
    if (transport_vsock_new(self->loop, &self->base.host, NULL) < 0 ||
        transport_vsock_new(self->loop, &self->base.guest, NULL) < 0) {
        real_world_free(&self->base);
        return NULL;
    }
    return &self->base;
}

static void
hybrid_set_hung(struct contract_world *w, bool hung)
{
    hybrid_guest_set_hung(w->guest, hung);
}

static void
hybrid_speak_and_wait(struct contract_world *w, uint32_t port)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/vsock_%u", real_of(w)->dir, port);
    if (os_unix_connect(path, &fd, NULL) == 0)
        real_world_wait(fd);
}

struct contract_world *
contract_world_hybrid(void)
{
    struct real_world *self = real_world_new();

    if (!self)
        return NULL;
    (void)snprintf(self->dir, sizeof(self->dir), "/tmp/vmt_contract.XXXXXX");
    if (!mkdtemp(self->dir))
        self->dir[0] = '\0';
    self->base.vm_cid = 33;
    self->base.host_cid = VMT_CID_HOST;
    self->base.vm_address = self->dir;
    self->base.port = 20000;
    self->base.peer_kind = STREAM_PEER_VM;
    self->base.set_hung = hybrid_set_hung;
    self->base.speak_and_wait = hybrid_speak_and_wait;
    self->base.guest = self->dir[0] ? hybrid_guest_new(self->loop, self->dir) : NULL;
    if (!self->base.guest ||
        transport_hybrid_new(self->loop, &self->base.host, NULL) < 0) {
        real_world_free(&self->base);
        return NULL;
    }
    return &self->base;
}

static bool
fake_run_until(struct contract_world *w, const bool *done)
{
    struct fake_world *self = VMT_CONTAINER_OF(w, struct fake_world, base);

    return fake_clock_run_until(self->clock, done, WORLD_DEADLINE_MS);
}

static void
fake_run_turns(struct contract_world *w)
{
    fake_clock_advance(VMT_CONTAINER_OF(w, struct fake_world, base)->clock, 0);
}

static unsigned
fake_turns_within(struct contract_world *w, unsigned ms)
{
    fake_clock_advance(VMT_CONTAINER_OF(w, struct fake_world, base)->clock, ms);
    return 1;
}

static void
fake_set_hung(struct contract_world *w, bool hung)
{
    fake_net_set_hung(VMT_CONTAINER_OF(w, struct fake_world, base)->net, w->vm_cid, hung);
}

static void
fake_free(struct contract_world *w)
{
    struct fake_world *self = VMT_CONTAINER_OF(w, struct fake_world, base);

    if (w->host)
        w->host->ops->free(w->host);
    if (w->guest)
        w->guest->ops->free(w->guest);
    fake_net_free(self->net);
    fake_clock_free(self->clock);
    free(self);
}

struct contract_world *
contract_world_fake(void)
{
    struct fake_world *self = calloc(1, sizeof(*self));

    if (!self)
        return NULL;
    self->base.vm_cid = 33;
    self->base.host_cid = VMT_CID_HOST;
    self->base.port = 20000;
    self->base.names_vm = self->base.checks_callers = true;
    self->base.run_until = fake_run_until;
    self->base.run_turns = fake_run_turns;
    self->base.turns_within = fake_turns_within;
    self->base.bulk_bytes = FAKE_BULK;
    self->base.peer_kind = STREAM_PEER_VM;
    self->base.set_hung = fake_set_hung;
    self->base.free = fake_free;
    self->clock = fake_clock_new();
    self->net = self->clock ? fake_net_new(fake_clock_base(self->clock)) : NULL;
    if (!self->net || fake_net_transport(self->net, VMT_CID_HOST, &self->base.host) < 0 ||
        fake_net_transport(self->net, self->base.vm_cid, &self->base.guest) < 0) {
        fake_free(&self->base);
        return NULL;
    }
    return &self->base;
}
