/* SPDX-License-Identifier: BSD-3-Clause */
/* Source: Linux v6.1, Documentation/watchdog/watchdog-api.rst. */
#include "platform/guest/maitred/agent/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"

#define DEVICE "/dev/watchdog"
#define PINGS_PER_TIMEOUT 3u

struct watchdog {
    struct vmt_clock *clock; /* borrowed */
    int fd;                  /* owned */
    uint64_t ping_ms;
    struct vmt_timer *timer; /* owned by the clock; NULL: no more pings */
};

static void
on_ping(void *arg)
{
    struct watchdog *w = arg;
    int none = 0;

    w->timer = NULL;
    if (ioctl(w->fd, WDIOC_KEEPALIVE, &none) < 0)
        vmt_log_error("ping the watchdog: %s", strerror(errno));
    if (w->clock->ops->timer_start(w->clock, w->ping_ms, on_ping, w, &w->timer) < 0)
        vmt_log_error("no memory to ping the watchdog: it will reset the machine");
}

/* What the device takes instead is in force. */
static unsigned
set_timeout(struct watchdog *w, unsigned timeout_s)
{
    int seconds = (int)timeout_s;

    if (ioctl(w->fd, WDIOC_SETTIMEOUT, &seconds) < 0 &&
        ioctl(w->fd, WDIOC_GETTIMEOUT, &seconds) < 0)
        seconds = (int)timeout_s;
    return seconds > 0 ? (unsigned)seconds : 1;
}

int
watchdog_new(struct vmt_clock *clock, unsigned timeout_s, struct watchdog **ret_watchdog)
{
    VMT_CLEANUP(vmt_closep) int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    struct watchdog *w;
    unsigned seconds;

    *ret_watchdog = NULL;
    if (fd < 0)
        return errno == ENOENT || errno == ENODEV || errno == ENXIO ? 0 : -errno;
    w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM; /* closed without the magic letter it resets us: we are lost */
    w->clock = clock;
    w->fd = vmt_take_fd(&fd);
    seconds = set_timeout(w, timeout_s);
    w->ping_ms = (uint64_t)seconds * 1000 / PINGS_PER_TIMEOUT;
    vmt_log_notice("the watchdog resets the machine when we stand still for %u s",
                   seconds);
    on_ping(w);
    *ret_watchdog = w;
    return 0;
}

void
watchdog_last_time(struct watchdog *w, unsigned timeout_s)
{
    int none = 0;

    if (!w)
        return;
    w->clock->ops->timer_cancel(w->clock, w->timer);
    w->timer = NULL;
    (void)set_timeout(w, timeout_s);
    (void)ioctl(w->fd, WDIOC_KEEPALIVE, &none);
}

void
watchdog_free(struct watchdog *w)
{
    ssize_t n;

    if (!w)
        return;
    w->clock->ops->timer_cancel(w->clock, w->timer);
    n = write(w->fd, "V", 1); /* stop, where the driver allows it */
    (void)n;
    vmt_closep(&w->fd);
    free(w);
}
