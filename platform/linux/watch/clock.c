/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/watch/clock.c - notice that the wall clock was set.
 *
 * A timer of CLOCK_REALTIME far in the future is cancelled by every step of that clock,
 * and by the end of a sleep of the machine. A kernel that forgets the latter is caught by
 * CLOCK_BOOTTIME, which goes on during a sleep, and CLOCK_MONOTONIC, which does not.
 * Source: timerfd_create(2), clock_getres(2). */
#include <errno.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "platform/linux/watch/watch_internal.h"

#define FAR_S (10L * 365 * 86400)
#define SLEPT_MS 1000 /* less is nothing that a guest would notice */

static long long
ms_of(clockid_t id)
{
    struct timespec t = {0};

    (void)clock_gettime(id, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long long
slept_ms(void)
{
    return ms_of(CLOCK_BOOTTIME) - ms_of(CLOCK_MONOTONIC);
}

static int
arm(struct watch_clock *clock)
{
    struct itimerspec when = {0};

    (void)clock_gettime(CLOCK_REALTIME, &when.it_value);
    when.it_value.tv_sec += FAR_S;
    if (timerfd_settime(clock->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when,
                        NULL) < 0)
        return -errno;
    return 0;
}

int
watch_clock_open(struct watch_clock *clock)
{
    clock->slept_ms = slept_ms();
    clock->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    return clock->fd < 0 ? -errno : arm(clock);
}

bool
watch_clock_changed(struct watch_clock *clock)
{
    long long slept = slept_ms();
    bool changed = slept - clock->slept_ms >= SLEPT_MS;
    uint64_t n;

    clock->slept_ms = slept;
    if (clock->fd >= 0 && (read(clock->fd, &n, sizeof(n)) > 0 || errno == ECANCELED)) {
        changed = true;
        (void)arm(clock);
    }
    return changed;
}
