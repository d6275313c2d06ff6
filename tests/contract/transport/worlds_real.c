/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/worlds_real.c - what worlds on the real loop share. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "tests/contract/transport/worlds.h"

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

static unsigned
real_turns_within(struct contract_world *w, unsigned ms)
{
    struct real_world *self = VMT_CONTAINER_OF(w, struct real_world, base);
    struct vmt_clock *clock = os_loop_clock(self->loop);
    struct vmt_timer *timer;
    bool over = false;
    unsigned n = 0;

    if (clock->ops->timer_start(clock, ms, real_on_deadline, &over, &timer) < 0)
        abort();
    while (!over) {
        n++;
        (void)event_base_loop(os_loop_base(self->loop), EVLOOP_ONCE);
    }
    return n;
}

static void
real_run_turns(struct contract_world *w)
{
    struct real_world *self = VMT_CONTAINER_OF(w, struct real_world, base);

    for (int i = 0; i < 20; i++)
        (void)event_base_loop(os_loop_base(self->loop), EVLOOP_NONBLOCK);
}

void
real_world_free(struct contract_world *w)
{
    struct real_world *self = VMT_CONTAINER_OF(w, struct real_world, base);

    if (w->host)
        w->host->ops->free(w->host);
    if (w->guest)
        w->guest->ops->free(w->guest);
    if (self->done)
        self->done(self);
    while (self->nheld > 0)
        (void)close(self->held[--self->nheld]);
    os_loop_free(self->loop);
    if (self->dir[0])
        (void)os_remove_tree(self->dir, NULL);
    free(self);
}

struct real_world *
real_world_new(void)
{
    struct real_world *self = calloc(1, sizeof(*self));

    if (!self || os_loop_new(&self->loop, NULL) < 0) {
        free(self);
        return NULL;
    }
    self->base.run_until = real_run_until;
    self->base.run_turns = real_run_turns;
    self->base.turns_within = real_turns_within;
    self->base.has_fds = true;
    self->base.bulk_bytes = 1u << 30;
    self->base.free = real_world_free;
    self->base.checks_callers = true;
    self->base.names_vm = true;
    return self;
}

void
real_world_wait(int fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd >= 0 && write(fd, "alive", 5) != 5)
        return;
    for (;;)
        (void)pause();
}
