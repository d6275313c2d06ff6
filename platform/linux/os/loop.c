/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/loop.c - the event loop over libevent's epoll. */
#include "platform/linux/os/loop.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop_internal.h"

struct loop_signal {
    struct vmt_list node;
    struct event *ev; /* owned */
    int sig;
    void (*fn)(void *arg, int sig);
    void *arg; /* borrowed */
};

static void
loop_signal_free(struct loop_signal *s)
{
    if (!s)
        return;
    vmt_list_remove(&s->node);
    if (s->ev)
        event_free(s->ev);
    free(s);
}

VMT_DEFINE_FREEP(struct os_loop, os_loop_free)
VMT_DEFINE_FREEP(struct loop_signal, loop_signal_free)

static void
loop_log(int severity, const char *text)
{
    vmt_log(severity >= EVENT_LOG_WARN ? VMT_LOG_WARNING : VMT_LOG_DEBUG, "libevent: %s",
            text);
}

/* Those that we may run on. The count of the C library reads a file of sysfs, which costs
 * process 1 of a guest three milliseconds under emulation. */
static long
cores_count(void)
{
    cpu_set_t set;

    /* a machine of more than CPU_SETSIZE is EINVAL */
    return sched_getaffinity(0, sizeof(set), &set) < 0 ? sysconf(_SC_NPROCESSORS_ONLN)
                                                       : CPU_COUNT(&set);
}

int
os_loop_new(struct os_loop **ret_loop, struct vmt_err *err)
{
    VMT_CLEANUP(os_loop_freep) struct os_loop *loop = calloc(1, sizeof(*loop));
    int r;

    if (!loop)
        return vmt_err_set(err, ENOMEM, "make the event loop");
    vmt_list_init(&loop->signals);
    loop->timers.timer_fd = -1;
    os_spin_init(&loop->spin, cores_count());
    event_set_log_callback(loop_log);
    loop->base = event_base_new();
    if (!loop->base)
        return vmt_err_setx(
            err, EMFILE,
            "cannot make the event loop: no memory, no descriptor left, or "
            "a kernel without epoll");
    r = os_timers_init(&loop->timers, loop->base, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "make the event loop");
    *ret_loop = vmt_take_ptr(&loop);
    return 0;
}

void
os_loop_free(struct os_loop *loop)
{
    if (!loop)
        return;
    VMT_LIST_FOREACH(node, next, &loop->signals)
    loop_signal_free(VMT_CONTAINER_OF(node, struct loop_signal, node));
    os_timers_done(&loop->timers);
    if (loop->base)
        event_base_free(loop->base);
    free(loop);
}

static uint64_t
loop_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Bytes came since ran was taken: the pause before them is over. */
static bool
loop_note(struct os_loop *loop, uint64_t ran)
{
    uint64_t now;

    if (loop->ran == ran)
        return false;
    now = loop_now_ns();
    os_spin_event(&loop->spin, now - loop->quiet_ns);
    loop->quiet_ns = now;
    return true;
}

/* Look again and again for a moment. Returns whether anything came. */
static bool
loop_spin(struct os_loop *loop)
{
    uint64_t end = loop_now_ns() + OS_SPIN_NS;

    while (!loop->stopped) {
        uint64_t ran = loop->ran;

        if (event_base_loop(loop->base, EVLOOP_NONBLOCK) != 0)
            return false;
        if (loop_note(loop, ran))
            return true;
        if (loop_now_ns() > end) {
            os_spin_in_vain(&loop->spin);
            return false;
        }
        /* Whoever waits for this core has it, and then the try is in vain: polling is for
         * cores that nobody else wants. */
        (void)sched_yield();
    }
    return false;
}

static void
loop_turns(struct os_loop *loop)
{
    loop->quiet_ns = loop_now_ns();
    while (!loop->stopped) {
        uint64_t ran = loop->ran;

        if (os_spin_wants(&loop->spin) && loop_spin(loop))
            continue;
        if (loop->stopped || event_base_loop(loop->base, EVLOOP_ONCE) != 0)
            return;
        (void)loop_note(loop, ran);
    }
}

int
os_loop_run(struct os_loop *loop)
{
    int code;

    /* A stop before the run counts: libevent forgets a break when a loop begins. */
    if (!loop->stopped)
        loop_turns(loop);
    code = loop->code;
    loop->stopped = false;
    loop->code = 0;
    return code;
}

void
os_loop_stop(struct os_loop *loop, int code)
{
    loop->stopped = true;
    loop->code = code;
    (void)event_base_loopbreak(loop->base);
}

struct event_base *
os_loop_base(struct os_loop *loop)
{
    return loop->base;
}

struct vmt_clock *
os_loop_clock(struct os_loop *loop)
{
    return &loop->timers.clock;
}

static void
loop_on_signal(evutil_socket_t sig, short what, void *arg)
{
    struct loop_signal *s = arg;

    (void)what;
    s->fn(s->arg, (int)sig);
}

int
os_loop_on_signal(struct os_loop *loop, int sig, void (*fn)(void *arg, int sig),
                  void *arg, struct vmt_err *err)
{
    VMT_CLEANUP(loop_signal_freep) struct loop_signal *s = NULL;

    VMT_LIST_FOREACH(node, next, &loop->signals)
    {
        struct loop_signal *old = VMT_CONTAINER_OF(node, struct loop_signal, node);

        if (old->sig == sig) {
            old->fn = fn;
            old->arg = arg;
            return 0;
        }
    }
    s = calloc(1, sizeof(*s));
    if (!s)
        return vmt_err_set(err, ENOMEM, "watch signal %d", sig);
    s->sig = sig;
    s->fn = fn;
    s->arg = arg;
    s->ev = evsignal_new(loop->base, sig, loop_on_signal, s);
    if (!s->ev || evsignal_add(s->ev, NULL) < 0)
        return vmt_err_set(err, errno ? errno : ENOMEM, "watch signal %d", sig);
    vmt_list_append(&loop->signals, &s->node);
    s = NULL;
    return 0;
}
