/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/worlds.c - a host and a guest for each transport. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <linux/vm_sockets.h>

#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "platform/linux/os/transports.h"
#include "tests/contract/transport/hybrid_guest.h"
#include "tests/contract/transport/transport_contract.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_transport.h"

#define WORLD_DEADLINE_MS 30000

/* A world on the real loop. */
struct real_world {
    struct contract_world base;
    struct os_loop *loop;
    char dir[64]; /* hybrid: the sockets; "" otherwise */
};

struct fake_world {
    struct contract_world base;
    struct fake_clock *clock;
    struct fake_net *net;
};

static void
real_on_deadline(void *arg)
{
    bool *late = arg;

    *late = true;
}

static bool
real_run_until(struct contract_world *w, const bool *done)
{
    struct real_world *self = VMT_CONTAINER_OF(w, struct real_world, base);
    struct vmt_clock *clock = os_loop_clock(self->loop);
    struct vmt_timer *timer;
    bool late = false;

    if (clock->ops->timer_start(clock, WORLD_DEADLINE_MS, real_on_deadline, &late,
                                &timer) < 0)
        return false;
    while (!*done && !late)
        (void)event_base_loop(os_loop_base(self->loop), EVLOOP_ONCE);
    if (!late)
        clock->ops->timer_cancel(clock, timer);
    return *done;
}

static void
real_run_turns(struct contract_world *w)
{
    struct real_world *self = VMT_CONTAINER_OF(w, struct real_world, base);

    for (int i = 0; i < 20; i++)
        (void)event_base_loop(os_loop_base(self->loop), EVLOOP_NONBLOCK);
}

static void
real_free(struct contract_world *w)
{
    struct real_world *self = VMT_CONTAINER_OF(w, struct real_world, base);

    if (w->host)
        w->host->ops->free(w->host);
    if (w->guest)
        w->guest->ops->free(w->guest);
    os_loop_free(self->loop);
    if (self->dir[0])
        (void)os_remove_tree(self->dir, NULL);
    free(self);
}

static struct real_world *
real_new(void)
{
    struct real_world *self = calloc(1, sizeof(*self));

    if (!self || os_loop_new(&self->loop, NULL) < 0) {
        free(self);
        return NULL;
    }
    self->base.run_until = real_run_until;
    self->base.run_turns = real_run_turns;
    self->base.free = real_free;
    self->base.checks_callers = true;
    self->base.names_vm = true;
    return self;
}

static struct contract_world *
tcp_world_new(void)
{
    struct real_world *self = real_new();

    if (!self)
        return NULL;
    self->base.vm_cid = 33;
    self->base.host_cid = VMT_CID_HOST;
    self->base.vm_address = self->base.host_address = "127.0.0.1";
    self->base.port = 20000 + (uint32_t)rand() % 20000;
    if (transport_tcp_new(self->loop, NULL, &self->base.host, NULL) < 0 ||
        transport_tcp_new(self->loop, NULL, &self->base.guest, NULL) < 0) {
        real_free(&self->base);
        return NULL;
    }
    return &self->base;
}

/* Both sides in one guest, by the loopback cid. Source: vsock(7), VMADDR_CID_LOCAL. */
static struct contract_world *
vsock_world_new(void)
{
    struct real_world *self = real_new();

    if (!self)
        return NULL;
    self->base.vm_cid = self->base.host_cid = VMADDR_CID_LOCAL;
    self->base.port = 20000;
    if (transport_vsock_new(self->loop, &self->base.host, NULL) < 0 ||
        transport_vsock_new(self->loop, &self->base.guest, NULL) < 0) {
        real_free(&self->base);
        return NULL;
    }
    return &self->base;
}

static void
hybrid_set_hung(struct contract_world *w, bool hung)
{
    hybrid_guest_set_hung(w->guest, hung);
}

static struct contract_world *
hybrid_world_new(void)
{
    struct real_world *self = real_new();

    if (!self)
        return NULL;
    (void)snprintf(self->dir, sizeof(self->dir), "/tmp/vmt_contract.XXXXXX");
    if (!mkdtemp(self->dir))
        self->dir[0] = '\0';
    self->base.vm_cid = 33;
    self->base.host_cid = VMT_CID_HOST;
    self->base.vm_address = self->dir;
    self->base.port = 20000;
    self->base.set_hung = hybrid_set_hung;
    self->base.guest = self->dir[0] ? hybrid_guest_new(self->loop, self->dir) : NULL;
    if (!self->base.guest ||
        transport_hybrid_new(self->loop, &self->base.host, NULL) < 0) {
        real_free(&self->base);
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

static struct contract_world *
fake_world_new(void)
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

static const struct {
    const char *name;
    struct contract_world *(*make)(void);
} worlds[] = {
    {"fake", fake_world_new},
    {"hybrid", hybrid_world_new},
    {"tcp", tcp_world_new},
    {"vsock", vsock_world_new},
};

struct contract_world *
contract_world_new(const char *name)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(worlds); i++) {
        if (strcmp(worlds[i].name, name) == 0)
            return worlds[i].make();
    }
    (void)fprintf(stderr, "transport_contract: %s: not fake, hybrid, tcp or vsock\n",
                  name);
    return NULL;
}
