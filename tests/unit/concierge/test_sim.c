/* SPDX-License-Identifier: BSD-3-Clause */
/* Lives by chance: clients, guests, processes, the host and the daemon itself do what a
 * seed says. Whatever happens, every call is answered once, every VmStartingUp gets its
 * VmStopped, and nothing is left (world_done). VMT_SIM_SEED replays one seed,
 * VMT_SIM_COUNT tries more. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define CALLS_MAX 64
#define GUESTS_MAX 64
#define STEPS 40
#define SEEDS 1000

struct sim {
    struct world w;
    uint64_t random;
    struct client_call calls[CALLS_MAX];
    size_t ncalls;
    struct {
        uint32_t cid;
        struct guest *guest;
        struct rpc_status status;
        int answers;
    } guests[GUESTS_MAX];
    size_t nguests;
};

/* xorshift64*, Marsaglia 2003; below n. */
static unsigned
dice(struct sim *s, unsigned n)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return (unsigned)((s->random * 2685821657736338717ull >> 33) % n);
}

static const char *
some_name(struct sim *s)
{
    static const char *const names[] = {"a", "b", "c"};

    return names[dice(s, VMT_ARRAY_SIZE(names))];
}

static struct client_call *
new_call(struct sim *s)
{
    return s->ncalls < CALLS_MAX ? &s->calls[s->ncalls++] : NULL;
}

static void
do_start(struct sim *s)
{
    struct client_call *call = new_call(s);
    struct start_args args;

    if (!call)
        return;
    start_args_init(&args, some_name(s));
    args.request.timeout = dice(s, 2) ? 0 : 1 + dice(s, 30);
    if (dice(s, 3) == 0)
        args.request.accel = (char *)(uintptr_t) "auto";
    client_start(&s->w, &args, call);
}

static void
do_stop(struct sim *s)
{
    struct client_call *call = new_call(s);

    if (call)
        client_stop(&s->w, some_name(s), call);
}

static void
do_stop_all(struct sim *s)
{
    struct client_call *call = new_call(s);

    if (call)
        client_call(&s->w, "StopAllVms", WORLD_UID, NULL, NULL, 0, call);
}

static void
do_sync(struct sim *s)
{
    struct client_call *call = new_call(s);

    if (call)
        client_call(&s->w, "SyncVmTimes", WORLD_UID, NULL, NULL, 0, call);
}

static struct fake_process *
some_process(struct sim *s)
{
    size_t n = fake_hypervisor_count(s->w.hv);

    return n ? fake_hypervisor_process(s->w.hv, dice(s, (unsigned)n)) : NULL;
}

static void
choose_ways(struct sim *s, struct guest *g)
{
    static const char *const methods[] = {"ConfigureNetwork", "SetTime", "SetTimezone",
                                          "Shutdown"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(methods); i++)
        if (dice(s, 4) == 0)
            guest_set(g, methods[i], dice(s, 2) ? GUEST_FAILS : GUEST_IGNORES);
}

/* The agent of some VM comes up, once, or calls VmReady again. */
static void
do_ready(struct sim *s)
{
    struct fake_process *p = some_process(s);
    const struct fake_start *start = p ? fake_process_start(p) : NULL;
    size_t i = 0;

    if (!start || start->cid == 0)
        return;
    while (i < s->nguests && s->guests[i].cid != start->cid)
        i++;
    if (i == GUESTS_MAX)
        return;
    if (i == s->nguests) {
        s->guests[i].cid = start->cid;
        s->guests[i].guest = guest_new(&s->w, start->cid);
        s->nguests++;
        choose_ways(s, s->guests[i].guest);
        if (dice(s, 4))
            guest_power_off_on_shutdown(s->guests[i].guest, start->name);
    } else if (s->guests[i].answers == 0) {
        return; /* it waits for an answer */
    }
    guest_call_ready(s->guests[i].guest, &s->guests[i].status, &s->guests[i].answers);
}

static void
do_exit(struct sim *s)
{
    static const enum hypervisor_exit reasons[] = {
        HYPERVISOR_EXIT_POWEROFF, HYPERVISOR_EXIT_RESET, HYPERVISOR_EXIT_KILLED,
        HYPERVISOR_EXIT_ACCEL};
    struct fake_process *p = some_process(s);

    if (p)
        fake_process_exit(p, reasons[dice(s, VMT_ARRAY_SIZE(reasons))], "words");
}

static void
do_panic(struct sim *s)
{
    struct fake_process *p = some_process(s);

    if (p)
        fake_process_panic(p);
}

static void
do_kill_companion(struct sim *s)
{
    if (s->w.ncompanions)
        (void)fake_spawn_exit(s->w.spawn,
                              s->w.companions[dice(s, (unsigned)s->w.ncompanions)],
                              SPAWN_EXIT_SIGNAL, SIGSEGV);
}

static void
do_fault(struct sim *s)
{
    fake_host_fail_after(s->w.host, dice(s, 12), ENOSPC);
}

static int
pid_of(struct sim *s, const char *name)
{
    VmTools__Concierge__GetVmInfoRequest request;
    const VmTools__Concierge__GetVmInfoResponse *reply;
    struct client_call call;
    int pid;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&s->w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    reply = (const VmTools__Concierge__GetVmInfoResponse *)call.reply;
    pid = reply->success ? reply->vm_info->pid : 0;
    client_call_done(&call);
    return pid;
}

/* A hypervisor whose id could not be written down is found by its command line and
 * killed; the fake one is no process that the fake spawn could kill. */
static void
kill_unknown_processes(struct sim *s)
{
    for (size_t i = 0; i < fake_hypervisor_count(s->w.hv); i++) {
        struct fake_process *p = fake_hypervisor_process(s->w.hv, i);

        if (pid_of(s, fake_process_start(p)->name) == 0)
            fake_process_exit(p, HYPERVISOR_EXIT_KILLED, "");
    }
}

static void
do_restart(struct sim *s)
{
    fake_host_fail_after(s->w.host, 0, 0);
    world_kill_daemon(&s->w);
    world_run(&s->w, dice(s, 1000));
    world_start_daemon(&s->w);
    kill_unknown_processes(s);
}

static void
do_behave(struct sim *s)
{
    struct fake_behaviour *b = fake_hypervisor_behaviour(s->w.hv);

    b->ignore_quit = dice(s, 3) == 0;
    b->ignore_sigterm = dice(s, 3) == 0;
    b->no_control = dice(s, 4) == 0;
    b->start_error = dice(s, 6) == 0 ? ENOENT : 0;
    s->w.companions_hang = dice(s, 6) == 0;
}

static void
do_wait(struct sim *s)
{
    static const unsigned ms[] = {0, 100, 1000, 5000, 20000};

    world_run(&s->w, dice(s, ms[dice(s, VMT_ARRAY_SIZE(ms))] + 1));
}

/* More often what makes things happen. */
static void (*const deeds[])(struct sim *s) = {
    do_start, do_start, do_start, do_ready,  do_ready,   do_ready,          do_ready,
    do_wait,  do_wait,  do_wait,  do_wait,   do_stop,    do_stop_all,       do_exit,
    do_panic, do_sync,  do_fault, do_behave, do_restart, do_kill_companion,
};

static void
live(uint64_t seed)
{
    static struct sim s;
    bool done = true;

    memset(&s, 0, sizeof(s));
    s.random = seed * 2 + 1;
    world_init(&s.w);
    for (int i = 0; i < STEPS; i++)
        deeds[dice(&s, VMT_ARRAY_SIZE(deeds))](&s);
    fake_host_fail_after(s.w.host, 0, 0);
    s.ncalls = s.ncalls < CALLS_MAX ? s.ncalls : CALLS_MAX - 1;
    do_stop_all(&s);
    world_run(&s.w, 120000); /* the longest stop takes 70 s */
    for (size_t i = 0; i < s.ncalls; i++) {
        done = done && s.calls[i].answers == 1;
        client_call_done(&s.calls[i]);
    }
    if (!done || s.w.starting_ups != s.w.stoppeds || concierge_vm_count(s.w.c) != 0)
        fail_msg("seed %llu: all answered %d, %u starting up, %u stopped, %zu left\n%s",
                 (unsigned long long)seed, done, s.w.starting_ups, s.w.stoppeds,
                 concierge_vm_count(s.w.c), s.w.journal);
    for (size_t i = 0; i < s.nguests; i++)
        guest_free(s.guests[i].guest);
    world_done(&s.w);
}

static void
whatever_happens_all_is_answered_and_released(void **state)
{
    const char *seed = getenv("VMT_SIM_SEED"), *count = getenv("VMT_SIM_COUNT");
    uint64_t n = count ? strtoull(count, NULL, 10) : SEEDS;

    (void)state;
    if (seed) {
        live(strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        live(i);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_all_is_answered_and_released),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
