/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/monotonic.h"
#include "platform/linux/vm_vsock/keeper_internal.h"
#include "platform/linux/vm_vsock/private.h"

/* A worker that dies over and over, since the guest found out how to make it, is not
 * started for ever. The first starts are at once, as a crash or an operator's kill is
 * rare; then each waits longer. With all pauses this many deaths take about 20 s. */
#define DEATHS_WINDOW_MS 60000u
#define DEATHS_MAX 50u
#define DEATHS_FREE 5u
#define PAUSE_STEP_MS 20u
#define PAUSE_MAX_MS 500u
/* One that was killed for its silence cost the VMM seconds: four of them are too many. */
#define DEATH_OF_SILENCE 15u

/* Then it is killed. */
#define END_PATIENCE_SEC 3

/* An answer may take this many ticks of config.tick_ms. They are counted one by one: of a
 * time in which the keeper itself did not run, since the host was suspended, stopped or
 * too busy, one counts at most. */
#define SILENCE_TICKS 10u

static void
worker_signal(struct keeper_worker *w, int sig)
{
    if (w->child)
        (void)w->keeper->config.spawn->ops->kill(w->child, sig);
}

void
worker_free(struct keeper_worker *w)
{
    if (!w)
        return;
    worker_signal(w, SIGKILL);
    if (w->child)
        w->keeper->config.spawn->ops->release(w->child);
    if (w->io)
        event_free(w->io);
    if (w->timer)
        event_free(w->timer);
    vhost_channel_close(&w->channel);
    free(w);
}

VMT_DEFINE_FREEP(struct keeper_worker, worker_free)

void
worker_end(struct keeper_worker *w)
{
    struct timeval patience = {.tv_sec = END_PATIENCE_SEC};

    w->state = WORKER_GONE;
    (void)event_del(w->io);
    worker_signal(w, SIGTERM);
    if (evtimer_add(w->timer, &patience) < 0)
        worker_signal(w, SIGKILL);
}

/* It broke the rules between us: its end is handled like any other. */
static void
worker_fail(struct keeper_worker *w, const char *why)
{
    vmt_log_error("worker killed: %s", why);
    w->state = WORKER_GONE;
    (void)event_del(w->io);
    (void)event_del(w->timer);
    worker_signal(w, SIGKILL);
}

static int
worker_tick(struct keeper_worker *w)
{
    unsigned ms = w->keeper->config.tick_ms;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    return evtimer_add(w->timer, &tv);
}

/* It was asked to end and did not, or there is no answer yet. */
static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct keeper_worker *w = arg;

    (void)fd;
    (void)what;
    if (w->state == WORKER_GONE) {
        worker_signal(w, SIGKILL);
        return;
    }
    w->ticks++;
    w->silent = w->ticks >= SILENCE_TICKS;
    if (w->silent || worker_tick(w) < 0)
        worker_fail(w, "it does not answer");
}

void
worker_send(struct keeper_worker *w, const struct vhost_message *msg, const int *fds,
            size_t nfds, enum worker_state state)
{
    struct vmt_err err = {0};

    w->state = state;
    w->ticks = 0;
    /* Whatever the reason is, no answer will come. For one that ended already this is
     * only what is seen first. */
    if (vhost_channel_send(&w->channel, msg, fds, nfds, &err) < 0)
        worker_fail(w, vmt_err_text(&err));
    else if (worker_tick(w) < 0)
        worker_fail(w, "nobody would notice its silence");
}

/* First that the VMM is there, then what it set up, then that programs may come. */
static void
worker_replay(struct keeper_worker *w)
{
    static const struct vhost_message serve = {.request = VHOST_PRIVATE_SERVE,
                                               .flags = VHOST_FLAG_VERSION};
    struct keeper *k = w->keeper;
    const uint64_t goes_on = 1;
    struct vhost_message msg = {.request = VHOST_PRIVATE_BEGIN,
                                .flags = VHOST_FLAG_VERSION,
                                .size = sizeof(goes_on),
                                .body = (const uint8_t *)&goes_on};
    const int *fds = &k->vmm.fd;
    size_t nfds = 1;

    /* Of a VMM that only just came no worker has heard: it begins later. */
    if (w->stage == 0 && (k->vmm.fd < 0 || k->begins))
        w->stage = 2;
    if (w->stage == 0) {
        w->stage = 1;
        worker_send(w, &msg, fds, nfds, WORKER_REPLAY);
    } else if (w->stage == 1 &&
               vhost_session_replay(k->session, &w->at, &msg, &fds, &nfds)) {
        worker_send(w, &msg, fds, nfds, WORKER_REPLAY);
    } else if (w->stage <= 2) {
        w->stage = 3;
        worker_send(w, &serve, NULL, 0, WORKER_REPLAY);
    } else {
        w->state = WORKER_IDLE;
        keeper_pump(k);
    }
}

static void
worker_is_up(struct keeper_worker *w)
{
    struct keeper *k = w->keeper;

    if (w == k->next) {
        if (k->worker)
            worker_end(k->worker); /* its end lets us begin */
        w->state = WORKER_IDLE;
        return;
    }
    k->left = false; /* it never heard of the one that left */
    worker_replay(w);
}

static void
worker_answered(struct keeper_worker *w, const struct vhost_message *reply)
{
    uint64_t status = 0;

    (void)event_del(w->timer);
    if (w->state == WORKER_BUSY) {
        w->state = WORKER_IDLE;
        keeper_answered(w->keeper, reply);
        return;
    }
    if (reply->size == sizeof(status))
        memcpy(&status, reply->body, sizeof(status));
    if (reply->size != sizeof(status) || !(reply->flags & VHOST_FLAG_STATUS) || status ||
        w->state == WORKER_IDLE) {
        worker_fail(w, "it does not take what an earlier one took");
        return;
    }
    if (w->state == WORKER_HELLO) {
        worker_is_up(w);
    } else if (w->state == WORKER_REPLAY) {
        worker_replay(w);
    } else {
        w->state = WORKER_IDLE;
        keeper_pump(w->keeper);
    }
}

static void
on_worker(evutil_socket_t fd, short what, void *arg)
{
    struct keeper_worker *w = arg;
    struct vhost_message reply;
    struct vmt_err err = {0};
    int r = vhost_channel_read(&w->channel, &reply, &err);

    (void)fd;
    (void)what;
    if (r == -ECONNRESET) {
        worker_end(w); /* if it did not end yet */
    } else if (r < 0) {
        worker_fail(w, vmt_err_text(&err));
    } else if (r > 0) {
        worker_answered(w, &reply);
        vhost_channel_next(&w->channel);
    }
}

/* Returns how long to wait before the next start, -1: no more of them. */
static int
worker_lost(struct keeper *k, unsigned cost)
{
    struct keeper_deaths *d = &k->deaths;
    uint64_t now = os_monotonic_ms();
    unsigned pause;

    if (!d->window_ms || now - d->window_ms >= DEATHS_WINDOW_MS) {
        d->window_ms = now;
        d->count = 0;
        d->cost = 0;
    }
    d->total++;
    d->count++;
    d->cost += cost;
    if (d->cost > DEATHS_MAX)
        return -1;
    if (d->count <= DEATHS_FREE)
        return 0;
    pause = (d->count - DEATHS_FREE) * PAUSE_STEP_MS;
    return (int)(pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
}

static void
worker_start_again(struct keeper *k, unsigned cost)
{
    int pause = worker_lost(k, cost);
    struct timeval tv = {.tv_sec = pause / 1000, .tv_usec = pause % 1000 * 1000};

    if (pause >= 0 && evtimer_add(k->again, &tv) == 0)
        return;
    vmt_log_error("giving up: the worker ended %u times within %u s", k->deaths.count,
                  DEATHS_WINDOW_MS / 1000);
    k->stopping = true;
    os_loop_stop(k->config.loop, EXIT_FAILURE);
}

/* The worker ended of which nobody wanted it, or when the next one waits for its place.
 */
static void
worker_ended(struct keeper *k, const struct spawn_exit *how, unsigned cost)
{
    k->worker = vmt_take_ptr(&k->next);
    if (!k->worker || k->worker->state != WORKER_IDLE)
        vmt_log_error("worker ended, %s %d; its connections are reset and another one "
                      "goes on",
                      how->kind == SPAWN_EXIT_CODE ? "exit code" : "signal", how->code);
    if (!k->worker)
        worker_start_again(k, cost);
    else if (k->worker->state == WORKER_IDLE)
        worker_is_up(k->worker);
}

static void
on_exit_of_worker(void *arg, const struct spawn_exit *how)
{
    VMT_CLEANUP(worker_freep) struct keeper_worker *w = arg;
    struct keeper *k = w->keeper;
    bool well = (how->kind == SPAWN_EXIT_CODE && how->code == 0) ||
                (how->kind == SPAWN_EXIT_SIGNAL && how->code == SIGTERM);

    w->child = NULL;
    if (w == k->next) {
        k->next = NULL;
        vmt_log_error("the new program does not run, %s %d; the worker was not replaced",
                      how->kind == SPAWN_EXIT_CODE ? "exit code" : "signal", how->code);
        return;
    }
    k->worker = NULL;
    if (k->stopping)
        os_loop_stop(k->config.loop, well ? EXIT_SUCCESS : EXIT_FAILURE);
    else
        worker_ended(k, how, w->silent ? DEATH_OF_SILENCE : 1);
}

static int
worker_watch(struct keeper_worker *w, struct vmt_err *err)
{
    struct event_base *base = os_loop_base(w->keeper->config.loop);

    w->io = event_new(base, w->channel.fd, EV_READ | EV_PERSIST, on_worker, w);
    w->timer = evtimer_new(base, on_timer, w);
    if (!w->io || !w->timer || event_add(w->io, NULL) < 0)
        return vmt_err_set(err, ENOMEM, "watch a worker");
    return 0;
}

static int
worker_spawn(struct keeper_worker *w, int theirs, struct vmt_err *err)
{
    const struct keeper_config *config = &w->keeper->config;
    const struct spawn_fd map[] = {{2, 2},
                                   {theirs, config->worker_fd},
                                   {config->vsock, config->vsock_fd},
                                   {config->journal, config->journal_fd}};
    const struct spawn_spec spec = {
        .argv = config->argv,
        .fds = map,
        .nfds = VMT_ARRAY_SIZE(map),
        .new_session = true, /* what a terminal sends is for the keeper */
        .on_exit = on_exit_of_worker,
        .arg = w,
    };

    return config->spawn->ops->start(config->spawn, &spec, &w->child, err);
}

int
worker_start(struct keeper *k, struct keeper_worker **ret_worker, struct vmt_err *err)
{
    VMT_CLEANUP(worker_freep) struct keeper_worker *w = calloc(1, sizeof(*w));
    VMT_CLEANUP(vmt_closep) int theirs = -1;
    struct vhost_message hello = {.request = VHOST_PRIVATE_HELLO,
                                  .flags = VHOST_FLAG_VERSION,
                                  .size = sizeof(k->deaths.total),
                                  .body = (const uint8_t *)&k->deaths.total};
    int pair[2], r;

    if (!w)
        return vmt_err_set(err, ENOMEM, "start a worker");
    w->keeper = k;
    w->channel.fd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return vmt_err_set(err, errno, "start a worker");
    w->channel.fd = pair[0];
    theirs = pair[1];
    r = worker_watch(w, err);
    if (r == 0)
        r = worker_spawn(w, theirs, err);
    if (r < 0)
        return r;
    worker_send(w, &hello, NULL, 0, WORKER_HELLO);
    *ret_worker = vmt_take_ptr(&w);
    return 0;
}

void
worker_begin(struct keeper *k)
{
    struct vmt_err err = {0};

    if (worker_start(k, &k->worker, &err) == 0)
        return;
    vmt_log_error("worker not started: %s", vmt_err_text(&err));
    worker_start_again(k, 1);
}
