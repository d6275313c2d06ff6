/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vm/wall_clock.c - preloaded into a program whose wall clock is to
 * jump while it runs, on a host whose clock stays right: the file that VMT_WALL_OFFSET
 * names holds the seconds that it is off. The children of the program have the true
 * clock. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef int gettime_fn(clockid_t id, struct timespec *ret_time);

static const volatile int64_t *offset;
static gettime_fn *true_gettime;

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("VMT_WALL_OFFSET");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

    if (fd >= 0)
        (void)close(fd);
    if (map != MAP_FAILED)
        offset = map;
    (void)unsetenv("LD_PRELOAD");
}

EXPORT int
clock_gettime(clockid_t id, struct timespec *ret_time)
{
    int r;

    if (!true_gettime)
        true_gettime = (gettime_fn *)(uintptr_t)dlsym(RTLD_NEXT, "clock_gettime");
    r = true_gettime(id, ret_time);
    if (r == 0 && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ret_time->tv_sec += *offset;
    return r;
}

EXPORT int
gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    struct timespec now;
    int r = clock_gettime(CLOCK_REALTIME, &now);

    (void)zone;
    ret_time->tv_sec = now.tv_sec;
    ret_time->tv_usec = now.tv_nsec / 1000;
    return r;
}

EXPORT time_t
time(time_t *ret_time)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time)
        *ret_time = now.tv_sec;
    return now.tv_sec;
}
