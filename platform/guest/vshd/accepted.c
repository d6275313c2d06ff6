/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/accepted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/list.h"
#include "core/base/log.h"

#define ACCEPTED_WAIT_MS 30000u /* a client comes at once, or never */
#define ACCEPTED_MAX 512u
/* Of one owner: above what connects within one round trip. Whoever can connect to a
 * listener whose client does not come must not fill the pool for the others. */
#define ACCEPTED_OWNER_MAX 64u

struct accepted_pool {
    struct vmt_clock *clock; /* borrowed */
    struct vmt_list waiting; /* owned struct accepted */
    size_t n;
};

struct accepted {
    struct vmt_list node;
    struct accepted_pool *pool; /* borrowed */
    const void *owner;          /* compared only */
    struct stream *stream;      /* owned */
    struct vmt_timer *timer;    /* owned */
    uint8_t token[VSH_TOKEN_BYTES];
};

static struct accepted *
accepted_of(struct vmt_list *node)
{
    return VMT_CONTAINER_OF(node, struct accepted, node);
}

static void
accepted_free(struct accepted *a)
{
    struct vmt_clock *clock = a->pool->clock;

    clock->ops->timer_cancel(clock, a->timer);
    vmt_list_remove(&a->node);
    a->pool->n--;
    stream_close(a->stream);
    free(a);
}

static void
accepted_on_timeout(void *arg)
{
    struct accepted *a = arg;

    a->timer = NULL;
    vmt_log_warning("forwarded connection closed: the client did not come for it");
    accepted_free(a);
}

int
accepted_pool_new(struct vmt_clock *clock, struct accepted_pool **ret_pool)
{
    struct accepted_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return -ENOMEM;
    pool->clock = clock;
    vmt_list_init(&pool->waiting);
    *ret_pool = pool;
    return 0;
}

void
accepted_pool_free(struct accepted_pool *pool)
{
    if (!pool)
        return;
    VMT_LIST_FOREACH(node, next, &pool->waiting)
    accepted_free(accepted_of(node));
    free(pool);
}

static int
accepted_start(struct accepted *a)
{
    if (getrandom(a->token, sizeof(a->token), GRND_NONBLOCK) != sizeof(a->token))
        return -EIO;
    return a->pool->clock->ops->timer_start(a->pool->clock, ACCEPTED_WAIT_MS,
                                            accepted_on_timeout, a, &a->timer);
}

static bool
pool_has_room(struct accepted_pool *pool, const void *owner)
{
    size_t n = 0;

    VMT_LIST_FOREACH(node, next, &pool->waiting)
    n += accepted_of(node)->owner == owner;
    return pool->n < ACCEPTED_MAX && n < ACCEPTED_OWNER_MAX;
}

int
accepted_pool_put(struct accepted_pool *pool, const void *owner, struct stream *stream,
                  uint8_t *ret_token)
{
    bool room = pool_has_room(pool, owner);
    struct accepted *a = room ? calloc(1, sizeof(*a)) : NULL;
    int r;

    if (!a) {
        stream_close(stream);
        return room ? -ENOMEM : -ENOBUFS;
    }
    a->pool = pool;
    a->owner = owner;
    a->stream = stream;
    vmt_list_append(&pool->waiting, &a->node);
    pool->n++;
    r = accepted_start(a);
    if (r < 0) {
        accepted_free(a);
        return r;
    }
    memcpy(ret_token, a->token, sizeof(a->token));
    return 0;
}

struct stream *
accepted_pool_take(struct accepted_pool *pool, const uint8_t *token)
{
    VMT_LIST_FOREACH(node, next, &pool->waiting)
    {
        struct accepted *a = accepted_of(node);
        struct stream *stream = a->stream;

        if (memcmp(a->token, token, VSH_TOKEN_BYTES) != 0)
            continue;
        a->stream = NULL;
        accepted_free(a);
        return stream;
    }
    return NULL;
}

void
accepted_pool_drop(struct accepted_pool *pool, const void *owner)
{
    VMT_LIST_FOREACH(node, next, &pool->waiting)
    {
        if (accepted_of(node)->owner == owner)
            accepted_free(accepted_of(node));
    }
}
