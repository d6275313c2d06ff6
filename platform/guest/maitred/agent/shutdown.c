/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/shutdown.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/teardown.h"
#include "platform/guest/maitred/agent/victims.h"
#include "platform/guest/maitred/init/power.h"
#include "platform/guest/maitred/proc/table.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/linux/os/loop.h"

/* What is left when the unmounting has to be over, before the hard deadline. */
#define TEARDOWN_SPARE_MS 500u
#define TEARDOWN_LEAST_MS 1000u
/* The answer has to leave the machine before the machine is off. */
#define ANSWER_MS 50u

/* One round after the other. Source of signals and of the times of the second and third:
 * platform2 vm_tools/maitred, service_impl.cc. It gives containers 2 s, which is too
 * little for a database; it did not wait after SIGKILL, and found file systems busy. */
static const struct {
    enum victims_kind kind;
    int sig;
    unsigned wait_ms;
} rounds[] = {
    {VICTIMS_CONTAINERS, SIGPWR, 8000},
    {VICTIMS_OTHERS, SIGTERM, 10000},
    {VICTIMS_LOGGER, SIGTERM, 300},
    {VICTIMS_ALL, SIGKILL, 2000},
};

struct shutdown {
    struct shutdown_config config;
    size_t round;
    struct victims *victims; /* owned */
    struct vmt_timer *timer; /* owned by the clock: of the round, then of the answer */
    struct vmt_timer *hard;  /* owned by the clock */
    uint64_t hard_ms;        /* when that runs */
    bool is_clean;           /* on_clean ran */
};

static void
power_off(void *arg)
{
    struct shutdown *s = arg;

    power_down(s->config.poweroff);
}

static void
finish(struct shutdown *s)
{
    struct vmt_clock *clock = os_loop_clock(s->config.loop);

    if (s->is_clean)
        return;
    s->is_clean = true;
    vmt_log_notice("the machine goes off");
    s->config.on_clean(s->config.arg);
    if (clock->ops->timer_start(clock, ANSWER_MS, power_off, s, &s->timer) < 0)
        power_off(s);
}

static void
on_hard_deadline(void *arg)
{
    struct shutdown *s = arg;

    s->hard = NULL;
    vmt_log_error("shutdown took more than %u ms and is cut short", SHUTDOWN_HARD_MS);
    finish(s);
}

static void
on_torn_down(void *arg, int status, const struct vmt_err *err)
{
    if (status < 0)
        vmt_log_error("unmount before power-off: %s", vmt_err_text(err));
    finish(arg);
}

/* A slow disk has all the time that there is: what is not written is lost. */
static unsigned
teardown_ms(const struct shutdown *s)
{
    struct vmt_clock *clock = os_loop_clock(s->config.loop);
    uint64_t now = clock->ops->now_ms(clock);

    return now + TEARDOWN_SPARE_MS + TEARDOWN_LEAST_MS > s->hard_ms
               ? TEARDOWN_LEAST_MS
               : (unsigned)(s->hard_ms - now - TEARDOWN_SPARE_MS);
}

static void
tear_down(struct shutdown *s)
{
    const struct worker_spec spec = {
        .fn = teardown_run,
        .timeout_ms = teardown_ms(s),
        .on_done = on_torn_down,
        .arg = s,
    };
    struct vmt_err err;

    if (worker_start(s->config.procs, &spec, &err) == 0)
        return;
    vmt_log_error("unmount before power-off: %s", err.msg);
    (void)teardown_run(NULL, &err);
    finish(s);
}

static void run_round(struct shutdown *s);

static void
end_round(struct shutdown *s)
{
    struct vmt_clock *clock = os_loop_clock(s->config.loop);

    clock->ops->timer_cancel(clock, s->timer);
    s->timer = NULL;
    victims_free(s->victims);
    s->victims = NULL;
    s->round++;
    run_round(s);
}

static void
on_gone(void *arg)
{
    end_round(arg);
}

static void
on_round_timeout(void *arg)
{
    struct shutdown *s = arg;

    s->timer = NULL;
    end_round(s);
}

static void
run_round(struct shutdown *s)
{
    struct vmt_clock *clock = os_loop_clock(s->config.loop);

    while (s->round < VMT_ARRAY_SIZE(rounds)) {
        const struct victims_spec spec = {
            .loop = s->config.loop,
            .procs = s->config.procs,
            .kind = rounds[s->round].kind,
            .sig = rounds[s->round].sig,
            .on_gone = on_gone,
            .arg = s,
        };
        int r = victims_start(&spec, &s->victims);

        /* All at once, too: what forks for ever escapes a list, but not this call, in
         * which nothing forks. Source: Linux v6.1, kernel/signal.c, kill_something_info.
         */
        if (rounds[s->round].sig == SIGKILL)
            (void)kill(-1, SIGKILL);
        if (r == 0)
            r = clock->ops->timer_start(clock, rounds[s->round].wait_ms, on_round_timeout,
                                        s, &s->timer);
        if (r == 0)
            return;
        victims_free(s->victims); /* no memory: signal them blindly and go on */
        s->victims = NULL;
        (void)kill(-1, rounds[s->round].sig);
        s->round++;
    }
    tear_down(s);
}

int
shutdown_start(const struct shutdown_config *config, struct shutdown **ret_shutdown)
{
    struct vmt_clock *clock = os_loop_clock(config->loop);
    struct shutdown *s = calloc(1, sizeof(*s));

    if (!s || clock->ops->timer_start(clock, SHUTDOWN_HARD_MS, on_hard_deadline, s,
                                      &s->hard) < 0) {
        free(s);
        return -ENOMEM;
    }
    s->config = *config;
    s->hard_ms = clock->ops->now_ms(clock) + SHUTDOWN_HARD_MS;
    proc_table_stop(config->procs);
    *ret_shutdown = s;
    run_round(s);
    return 0;
}
