/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/drivers.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/str.h"
#include "platform/guest/maitred/init/uevent.h"

#define WAITING_MAX 32u

struct waiting {
    char *path;     /* owned: below sys, with a leading '/' */
    char *modalias; /* owned */
    uint64_t until_ms;
};

struct drivers {
    struct drivers_config config;
    struct vmt_timer *timer; /* owned by the clock; NULL: nobody waits */
    struct waiting
        waiting[WAITING_MAX]; /* the first n, in the order in which they came */
    size_t n;
};

static void
waiting_done(struct waiting *w)
{
    free(w->path);
    free(w->modalias);
}

int
drivers_new(const struct drivers_config *config, struct drivers **ret_drivers)
{
    struct drivers *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    d->config = *config;
    *ret_drivers = d;
    return 0;
}

void
drivers_free(struct drivers *drivers)
{
    if (!drivers)
        return;
    drivers->config.clock->ops->timer_cancel(drivers->config.clock, drivers->timer);
    for (size_t i = 0; i < drivers->n; i++)
        waiting_done(&drivers->waiting[i]);
    free(drivers);
}

/* Source: Linux, Documentation/ABI/testing/sysfs-devices-driver. */
static bool
wants_module(const struct drivers *d, const struct waiting *w)
{
    char path[PATH_MAX], link[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s%s", d->config.sys, w->path) >= PATH_MAX ||
        snprintf(link, sizeof(link), "%s/driver", path) >= PATH_MAX)
        return false;
    return access(path, F_OK) == 0 && access(link, F_OK) < 0;
}

static void arm(struct drivers *d);

static void
on_timer(void *arg)
{
    struct drivers *d = arg;
    struct vmt_clock *clock = d->config.clock;
    uint64_t now = clock->ops->now_ms(clock);

    d->timer = NULL;
    while (d->n > 0 && d->waiting[0].until_ms <= now) {
        struct waiting first = d->waiting[0];

        d->n--;
        memmove(d->waiting, d->waiting + 1, d->n * sizeof(first));
        if (wants_module(d, &first))
            d->config.load(d->config.arg, first.modalias);
        waiting_done(&first);
    }
    arm(d);
}

static void
arm(struct drivers *d)
{
    struct vmt_clock *clock = d->config.clock;
    uint64_t now = clock->ops->now_ms(clock);
    uint64_t until;

    if (d->timer || d->n == 0)
        return;
    until = d->waiting[0].until_ms;
    if (clock->ops->timer_start(clock, until > now ? until - now : 0, on_timer, d,
                                &d->timer) < 0)
        d->timer = NULL; /* the next device tries again */
}

/* Returns false if there is no room for it. */
static bool
wait_for(struct drivers *d, const char *path, const char *modalias)
{
    struct vmt_clock *clock = d->config.clock;
    struct waiting w = {.until_ms = clock->ops->now_ms(clock) + DRIVERS_PATIENCE_MS};

    if (d->n == WAITING_MAX)
        return false;
    w.path = strdup(path);
    w.modalias = strdup(modalias);
    if (!w.path || !w.modalias) {
        waiting_done(&w);
        return false;
    }
    d->waiting[d->n++] = w;
    arm(d);
    return true;
}

void
drivers_event(struct drivers *drivers, const char *event, size_t len)
{
    const char *modalias = uevent_find(event, len, "MODALIAS");
    const char *path = uevent_find(event, len, "DEVPATH");

    if (!vmt_str_has_prefix(event, "add@") || !modalias || !*modalias || !path ||
        uevent_find(event, len, "DRIVER"))
        return;
    if (!wait_for(drivers, path, modalias))
        drivers->config.load(drivers->config.arg, modalias);
}
