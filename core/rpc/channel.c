/* SPDX-License-Identifier: BSD-3-Clause */
/* The channel's state and its connections. */
#include "core/rpc/channel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/connector.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/rpc/channel_internal.h"
#include "core/rpc/client_internal.h"
#include "core/rpc/jitter_internal.h"

/* Source of these five: grpc doc/connection-backoff.md. */
#define BACKOFF_INITIAL_MS 1000u
#define BACKOFF_MAX_MS 120000u
#define BACKOFF_GROWTH_PERCENT 160u
#define BACKOFF_JITTER_PERCENT 20u
#define CONNECT_TIMEOUT_MS 20000u

/* What a daemon's burst may put into a queue while its peer restarts: all of a client's
 * parallel calls, a few of the largest messages. */
#define WAITING_MAX 1024u
#define WAITING_BYTES_MAX (4 * VMT_RPC_MESSAGE_MAX)

/* Steps of one turn of the loop, beside one for each call that waits: changes of state,
 * and telling them. */
#define TURN_STEPS 8u

const char *
rpc_channel_state_name(enum rpc_channel_state state)
{
    static const char *const names[] = {"IDLE", "CONNECTING", "READY",
                                        "TRANSIENT_FAILURE", "SHUTDOWN"};

    _Static_assert(VMT_ARRAY_SIZE(names) == RPC_CHANNEL_STATE_COUNT, "a name each");
    return state < RPC_CHANNEL_STATE_COUNT ? names[state] : "?";
}

static void
channel_set_state(struct rpc_channel *ch, enum rpc_channel_state state)
{
    vmt_log_debug("rpc channel %s -> %s: %s", rpc_channel_state_name(ch->state),
                  rpc_channel_state_name(state), ch->reason);
    ch->state = state;
}

static void
channel_set_reason(struct rpc_channel *ch, const char *reason)
{
    (void)snprintf(ch->reason, sizeof(ch->reason), "%s", reason);
}

static uint64_t
channel_now_ms(const struct rpc_channel *ch)
{
    return ch->clock->ops->now_ms(ch->clock);
}

static void
channel_stop_timer(struct rpc_channel *ch, struct vmt_timer **timer)
{
    ch->clock->ops->timer_cancel(ch->clock, *timer);
    *timer = NULL;
}

static void
link_free(struct channel_link *link)
{
    if (!link)
        return;
    vmt_list_remove(&link->node);
    rpc_client_free(link->client);
    free(link);
}

/* How long after its begin an attempt is followed by the next. */
static uint32_t
channel_pause_ms(struct rpc_channel *ch)
{
    if (!ch->failed)
        return ch->backoff_ms;
    return (uint32_t)rpc_jitter(&ch->random, ch->backoff_ms, BACKOFF_JITTER_PERCENT);
}

static void channel_on_retry(void *arg);

/* Wait until the next attempt is due. */
static void
channel_wait_retry(struct rpc_channel *ch)
{
    uint64_t now = channel_now_ms(ch);
    uint64_t delay = ch->retry_ms > now ? ch->retry_ms - now : 0;

    if (ch->clock->ops->timer_start(ch->clock, delay, channel_on_retry, ch,
                                    &ch->deadline) == 0) {
        channel_set_state(ch, RPC_CHANNEL_TRANSIENT_FAILURE);
        channel_give_up(ch, false);
        return;
    }
    /* Nothing would come back to what waits. */
    channel_give_up(ch, true);
    channel_set_state(ch, RPC_CHANNEL_IDLE);
}

static void
channel_attempt_failed(struct rpc_channel *ch, const char *reason)
{
    uint64_t grown = (uint64_t)ch->backoff_ms * BACKOFF_GROWTH_PERCENT / 100;
    uint32_t max = ch->config.backoff_max_ms;

    channel_set_reason(ch, reason);
    ch->failed = true;
    ch->backoff_ms = grown < max ? (uint32_t)grown : max;
    channel_wait_retry(ch);
}

static void
link_on_ready(void *arg)
{
    struct channel_link *link = arg;
    struct rpc_channel *ch = link->channel;

    if (ch->link != link)
        return;
    channel_enter(ch);
    channel_stop_timer(ch, &ch->deadline);
    ch->failed = false;
    ch->backoff_ms = ch->config.backoff_initial_ms;
    channel_set_reason(ch, "");
    channel_set_state(ch, RPC_CHANNEL_READY);
    channel_leave(ch);
}

/* A connection that no call came to use and that ended within the pause counts as an
 * attempt that failed: a server that takes and drops connections is not run after. */
void
channel_retire(struct rpc_channel *ch, const char *reason)
{
    struct channel_link *link = ch->link;

    ch->link = NULL;
    vmt_list_append(&ch->draining, &link->node);
    channel_set_reason(ch, reason);
    if (!link->used && channel_now_ms(ch) < ch->retry_ms)
        channel_wait_retry(ch);
    else
        channel_set_state(ch, RPC_CHANNEL_IDLE);
}

/* Source: grpc proposal A8-client-side-keepalive.md, for all later connections. */
static void
channel_ping_less(struct rpc_channel *ch)
{
    uint32_t *ms = &ch->config.client.keepalive_ms;

    *ms = *ms <= UINT32_MAX / 2 ? 2 * *ms : UINT32_MAX;
    vmt_log_debug("rpc channel keeps alive by a PING every %u ms from now on", *ms);
}

static void
link_on_goaway(void *arg, bool too_many_pings)
{
    struct channel_link *link = arg;
    struct rpc_channel *ch = link->channel;

    if (too_many_pings)
        channel_ping_less(ch);
    if (ch->link != link || ch->state != RPC_CHANNEL_READY)
        return; /* on_closed follows */
    channel_enter(ch);
    channel_retire(ch, "the server is going away");
    channel_leave(ch);
}

static void
link_on_closed(void *arg, const char *reason)
{
    struct channel_link *link = arg;
    struct rpc_channel *ch = link->channel;

    channel_enter(ch);
    if (ch->link == link && ch->state == RPC_CHANNEL_READY) {
        channel_retire(ch, reason);
    } else if (ch->link == link) {
        ch->link = NULL;
        channel_stop_timer(ch, &ch->deadline);
        channel_attempt_failed(ch, reason);
    }
    link_free(link);
    channel_leave(ch);
}

static void
channel_on_settings_late(void *arg)
{
    struct rpc_channel *ch = arg;
    struct channel_link *link = ch->link;

    ch->deadline = NULL;
    channel_enter(ch);
    ch->link = NULL;
    link_free(link);
    channel_attempt_failed(ch, "connected, but the server does not speak HTTP/2");
    channel_leave(ch);
}

/* Speak HTTP/2 on a new connection. On failure s is still the caller's. */
static int
channel_open(struct rpc_channel *ch, struct stream *s, struct vmt_err *err)
{
    struct rpc_client_config config = ch->config.client;
    struct channel_link *link = calloc(1, sizeof(*link));
    uint64_t now = channel_now_ms(ch);
    uint64_t left = ch->attempt_end_ms > now ? ch->attempt_end_ms - now : 0;
    int r;

    if (!link)
        return vmt_err_set(err, ENOMEM, "open rpc connection");
    link->channel = ch;
    config.authority = ch->authority;
    config.on_closed = link_on_closed;
    config.on_ready = link_on_ready;
    config.on_goaway = link_on_goaway;
    config.arg = link;
    r = ch->clock->ops->timer_start(ch->clock, left, channel_on_settings_late, ch,
                                    &ch->deadline);
    if (r < 0)
        (void)vmt_err_set(err, -r, "open rpc connection");
    else
        r = rpc_client_new(ch->clock, s, &config, &link->client, err);
    if (r < 0) {
        channel_stop_timer(ch, &ch->deadline);
        free(link);
        return r;
    }
    ch->link = link;
    return 0;
}

static void
channel_on_connected(void *arg, struct stream *s, const struct vmt_err *why)
{
    struct rpc_channel *ch = arg;
    struct vmt_err err = {0};

    channel_enter(ch);
    if (!s || channel_open(ch, s, &err) < 0) {
        channel_attempt_failed(ch, vmt_err_text(s ? &err : why));
        stream_close(s);
    }
    channel_leave(ch);
}

/* An attempt begins. Returns how long it may take. */
static uint32_t
channel_begin_attempt(struct rpc_channel *ch)
{
    uint32_t pause_ms = channel_pause_ms(ch);
    uint32_t timeout_ms = ch->config.connect_timeout_ms;
    uint64_t now = channel_now_ms(ch);

    if (timeout_ms < pause_ms)
        timeout_ms = pause_ms;
    ch->asked = false;
    ch->retry_ms = now + pause_ms;
    ch->attempt_end_ms = now + timeout_ms;
    return timeout_ms;
}

static void
channel_attempt(struct rpc_channel *ch)
{
    uint32_t timeout_ms = channel_begin_attempt(ch);
    struct vmt_err err = {0};

    channel_set_state(ch, RPC_CHANNEL_CONNECTING);
    if (ch->connector->ops->connect(ch->connector, timeout_ms, channel_on_connected, ch,
                                    &err) < 0)
        channel_attempt_failed(ch, vmt_err_text(&err));
}

static void
channel_on_retry(void *arg)
{
    struct rpc_channel *ch = arg;

    ch->deadline = NULL;
    channel_enter(ch);
    if (ch->config.lazy && !ch->asked && vmt_list_empty(&ch->waiting))
        channel_set_state(ch, RPC_CHANNEL_IDLE);
    else
        channel_attempt(ch);
    channel_leave(ch);
}

static void
channel_tell(struct rpc_channel *ch)
{
    char reason[CHANNEL_REASON_MAX];

    ch->told = ch->state;
    memcpy(reason, ch->reason, sizeof(reason));
    if (ch->config.on_state)
        ch->config.on_state(ch->config.arg, ch->state, reason);
}

/* Do one thing that is due. Returns whether there was one. */
static bool
channel_step(struct rpc_channel *ch)
{
    bool waits = !vmt_list_empty(&ch->waiting);

    if (ch->state == RPC_CHANNEL_IDLE && (waits || ch->asked))
        channel_attempt(ch);
    else if (ch->state == RPC_CHANNEL_READY && waits)
        channel_flush(ch);
    else if (!vmt_list_empty(&ch->failing))
        channel_fail_first(ch);
    else if (ch->told != ch->state)
        channel_tell(ch);
    else
        return false;
    return true;
}

void
channel_enter(struct rpc_channel *ch)
{
    ch->busy++;
}

static void
channel_on_turn(void *arg)
{
    struct rpc_channel *ch = arg;

    ch->turn = NULL;
    channel_enter(ch);
    channel_leave(ch);
}

static int
channel_plan_turn(struct rpc_channel *ch)
{
    if (ch->turn)
        return 0;
    return ch->clock->ops->timer_start(ch->clock, 0, channel_on_turn, ch, &ch->turn);
}

int
channel_turn(struct rpc_channel *ch)
{
    return ch->busy > 0 ? 0 : channel_plan_turn(ch);
}

/* Who starts a call again each time it fails gets only so many of them in one turn of the
 * loop, or nothing else would ever run. Without memory to plan the next one this turn
 * goes on. */
void
channel_leave(struct rpc_channel *ch)
{
    size_t left = ch->nwaiting + TURN_STEPS;

    assert(ch->busy > 0);
    while (ch->busy == 1 && !ch->closed && channel_step(ch)) {
        if (--left > 0)
            continue;
        if (ch->closed || channel_plan_turn(ch) == 0)
            break;
        left = ch->nwaiting + TURN_STEPS;
    }
    if (--ch->busy == 0 && ch->closed)
        free(ch);
}

void
channel_link_done(struct channel_link *link)
{
    struct rpc_channel *ch = link->channel;

    assert(link->ncalls > 0);
    if (--link->ncalls == 0 && ch->state == RPC_CHANNEL_SHUTDOWN)
        link_free(link);
}

static void
channel_set_config(struct rpc_channel *ch, const struct rpc_channel_config *config)
{
    struct rpc_channel_config *c = &ch->config;

    if (config)
        *c = *config;
    if (c->backoff_initial_ms == 0)
        c->backoff_initial_ms = BACKOFF_INITIAL_MS;
    if (c->backoff_max_ms == 0)
        c->backoff_max_ms = BACKOFF_MAX_MS;
    if (c->backoff_max_ms < c->backoff_initial_ms)
        c->backoff_max_ms = c->backoff_initial_ms;
    if (c->connect_timeout_ms == 0)
        c->connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (c->waiting_max == 0)
        c->waiting_max = WAITING_MAX;
    if (c->waiting_bytes_max == 0)
        c->waiting_bytes_max = WAITING_BYTES_MAX;
    ch->backoff_ms = c->backoff_initial_ms;
    ch->random = c->seed ? c->seed : rpc_jitter_seed(ch->clock, ch);
}

int
rpc_channel_new(struct vmt_clock *clock, struct connector *connector,
                const struct rpc_channel_config *config, struct rpc_channel **ret_channel,
                struct vmt_err *err)
{
    const char *authority = config ? config->client.authority : NULL;
    struct rpc_channel *ch = calloc(1, sizeof(*ch));

    if (ch && authority)
        ch->authority = strdup(authority);
    if (!ch || (authority && !ch->authority)) {
        free(ch);
        return vmt_err_set(err, ENOMEM, "create rpc channel");
    }
    ch->clock = clock;
    ch->connector = connector;
    vmt_list_init(&ch->draining);
    vmt_list_init(&ch->waiting);
    vmt_list_init(&ch->failing);
    vmt_list_init(&ch->running);
    channel_set_config(ch, config);
    *ret_channel = ch;
    return 0;
}

int
rpc_channel_adopt(struct rpc_channel *ch, struct stream *stream, struct vmt_err *err)
{
    int r;

    if (ch->state != RPC_CHANNEL_IDLE)
        return vmt_err_set(err, EALREADY, "begin with a connection");
    r = channel_turn(ch);
    if (r < 0)
        return vmt_err_set(err, -r, "begin with a connection");
    (void)channel_begin_attempt(ch);
    r = channel_open(ch, stream, err);
    if (r == 0)
        channel_set_state(ch, RPC_CHANNEL_CONNECTING);
    return r;
}

void
rpc_channel_free(struct rpc_channel *ch)
{
    if (!ch || ch->closed)
        return;
    ch->closed = true;
    connector_free(ch->connector);
    channel_stop_timer(ch, &ch->deadline);
    channel_stop_timer(ch, &ch->turn);
    link_free(ch->link);
    VMT_LIST_FOREACH(node, next, &ch->draining)
    link_free(VMT_CONTAINER_OF(node, struct channel_link, node));
    channel_drop(&ch->waiting);
    channel_drop(&ch->failing);
    channel_drop(&ch->running);
    free(ch->authority);
    if (ch->busy == 0)
        free(ch);
}

int
rpc_channel_shutdown(struct rpc_channel *ch)
{
    struct channel_link *link = ch->link;
    int r = channel_turn(ch);

    if (r < 0 || ch->state == RPC_CHANNEL_SHUTDOWN)
        return r;
    ch->connector->ops->cancel(ch->connector);
    channel_stop_timer(ch, &ch->deadline);
    channel_give_up(ch, true);
    ch->link = NULL;
    if (link && link->ncalls > 0)
        vmt_list_append(&ch->draining, &link->node);
    else
        link_free(link);
    channel_set_reason(ch, "the channel is shut down");
    channel_set_state(ch, RPC_CHANNEL_SHUTDOWN);
    return 0;
}

enum rpc_channel_state
rpc_channel_state(const struct rpc_channel *ch)
{
    return ch->state;
}

int
rpc_channel_connect(struct rpc_channel *ch)
{
    int r = channel_turn(ch);

    if (r == 0 &&
        (ch->state == RPC_CHANNEL_IDLE || ch->state == RPC_CHANNEL_TRANSIENT_FAILURE))
        ch->asked = true;
    return r;
}

int
rpc_channel_reset_backoff(struct rpc_channel *ch)
{
    int r = channel_turn(ch);

    if (r < 0)
        return r;
    ch->failed = false;
    ch->backoff_ms = ch->config.backoff_initial_ms;
    ch->retry_ms = 0;
    if (ch->state != RPC_CHANNEL_TRANSIENT_FAILURE)
        return 0;
    channel_stop_timer(ch, &ch->deadline);
    ch->asked = true;
    channel_set_state(ch, RPC_CHANNEL_IDLE);
    return 0;
}
