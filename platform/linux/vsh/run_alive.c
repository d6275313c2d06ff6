/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/run_alive.c - end a session whose guest does not answer any more. */
#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/vsh/client.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vsh/connect.h"
#include "platform/linux/vsh/endpoint.h"
#include "platform/linux/vsh/run_internal.h"

static void alive_act(struct vsh_run *run, enum vsh_alive_step step, unsigned ms);

static void
alive_on_tick(void *arg)
{
    struct vsh_run *run = arg;
    unsigned ms = 0;
    enum vsh_alive_step step;

    run->alive.timer = NULL;
    vsh_connect_free(run->alive.look); /* the last one has been over since its answer */
    run->alive.look = NULL;
    step = vsh_alive_tick(&run->alive.count, run->alive.heard || run->paused, &ms);
    run->alive.heard = false;
    alive_act(run, step, ms);
}

static void
alive_on_looked(void *arg, struct stream *stream, const struct vmt_err *err)
{
    struct vsh_run *run = arg;
    unsigned ms = 0;
    enum vsh_alive_step step = vsh_alive_looked(&run->alive.count, stream != NULL, &ms);

    (void)err;
    stream_close(stream);
    alive_act(run, step, ms);
}

static void
alive_on_told(void *arg, bool suspended)
{
    struct vsh_run *run = arg;
    unsigned ms = 0;
    enum vsh_alive_step step = vsh_alive_told(&run->alive.count, suspended, &ms);

    alive_act(run, step, ms);
}

static void
alive_wait(struct vsh_run *run, unsigned ms)
{
    struct vmt_clock *clock = os_loop_clock(run->loop);

    /* Without memory nobody looks any more. */
    (void)clock->ops->timer_start(clock, ms, alive_on_tick, run, &run->alive.timer);
}

static void
alive_look(struct vsh_run *run)
{
    struct vsh_connect_config config = {
        .endpoint = run->config->endpoint,
        .timeout_ms = vsh_alive_timeout_ms(&run->alive.count),
        .on_done = alive_on_looked,
        .arg = run,
    };

    if (vsh_connect_new(run->loop, &config, &run->alive.look, NULL) < 0)
        alive_wait(run,
                   run->alive.count.silence_ms); /* our own trouble, not the guest's */
}

static void
alive_gone(struct vsh_run *run)
{
    if (run->config->ret_loss && !run->over)
        *run->config->ret_loss = VSH_LOSS_SILENT;
    run_fail(run, VSH_EXIT_LOST, "the guest does not answer any more");
}

static void
alive_act(struct vsh_run *run, enum vsh_alive_step step, unsigned ms)
{
    const struct vsh_run_config *config = run->config;

    if (run->over)
        return;
    if (step == VSH_ALIVE_WAIT)
        alive_wait(run, ms);
    else if (step == VSH_ALIVE_LOOK)
        alive_look(run);
    else if (step == VSH_ALIVE_GONE || !config->ask_suspended ||
             config->ask_suspended(config->ask_arg, alive_on_told, run) < 0)
        alive_gone(run);
}

void
run_alive_start(struct vsh_run *run)
{
    /* The kernel itself tells of what is on this host. */
    if (run->config->endpoint->kind == VSH_ENDPOINT_UNIX ||
        run->config->keepalive_ms == VSH_KEEPALIVE_NEVER)
        return;
    run->alive.count.silence_ms =
        run->config->keepalive_ms ? run->config->keepalive_ms : VSH_ALIVE_SILENCE_MS;
    alive_wait(run, run->alive.count.silence_ms);
}

void
run_alive_stop(struct vsh_run *run)
{
    struct vmt_clock *clock = os_loop_clock(run->loop);

    clock->ops->timer_cancel(clock, run->alive.timer);
    run->alive.timer = NULL;
    vsh_connect_free(run->alive.look);
    run->alive.look = NULL;
}
