/* SPDX-License-Identifier: BSD-3-Clause */
/* A life of a real concierge on fakes, as bytes: calls of any method with any request,
 * guests that report ready, processes that end, time that passes. Each call is answered
 * exactly once, each VmStartingUp has its VmStopped, and at the end nothing is left:
 * world_done counts VMs, processes, directories, records, timers and descriptors.
 *
 * An input is a row of steps. The low two bits of a step's first byte say what it is:
 *   0 call     method, uid (low 3 bits) and descriptors (rest), length (LE16), request
 *   1 wait     units of 250 ms
 *   2 ready    the agent in a VM comes up and calls VmReady; which VM
 *   3 exit     a VM's process ends; which VM
 * The upper six bits of the first byte choose among VMs and reasons. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "core/concierge/service.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define CALLS_MAX 32
#define GUESTS_MAX 32
#define WAIT_UNIT_MS 250
#define WAITS_MAX 16
#define END_MS 100
#define END_STEPS_MAX 12000 /* twenty minutes: longer than any deadline of a start */

struct life {
    struct world w;
    const uint8_t *data; /* what is left of the input */
    size_t len;
    int answers[CALLS_MAX];
    size_t ncalls, nwaits;
    struct {
        uint32_t cid;
        struct guest *guest;
        struct rpc_status status;
        int answers;
    } guests[GUESTS_MAX];
    size_t nguests;
};

static uint8_t
take(struct life *l)
{
    if (l->len == 0)
        return 0;
    l->len--;
    return *l->data++;
}

static void
on_reply(void *token, const uint8_t *bytes, size_t len, const int *fds, size_t nfds)
{
    (void)bytes, (void)len, (void)fds, (void)nfds;
    ++*(int *)token;
}

static void
on_fail(void *token, enum ipc_error code, const char *text)
{
    (void)code, (void)text;
    ++*(int *)token;
}

static const struct ipc_answer_ops answer_ops = {.reply = on_reply, .fail = on_fail};

static void
do_call(struct life *l)
{
    static const uint32_t uids[] = {WORLD_UID, WORLD_UID, 5,    0,
                                    WORLD_UID, 65534,     1001, UINT32_MAX};
    const struct ipc_method *m = &concierge_service.methods[0];
    int fds[VMT_FDS_MAX + 1];
    struct ipc_incoming in = {.fds = fds};
    uint8_t who;

    m += take(l) % concierge_service.nmethods;
    who = take(l);
    in.len = take(l);
    in.len |= (size_t)take(l) << 8;
    if (in.len > l->len)
        in.len = l->len;
    in.bytes = in.len ? l->data : NULL;
    l->data += in.len;
    l->len -= in.len;
    if (l->ncalls == CALLS_MAX)
        return;
    in.method = m;
    in.caller.uid = uids[who % VMT_ARRAY_SIZE(uids)];
    in.nfds = who / VMT_ARRAY_SIZE(uids) % VMT_ARRAY_SIZE(fds);
    in.token = &l->answers[l->ncalls++];
    for (size_t i = 0; i < in.nfds; i++)
        fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    ipc_dispatch(l->w.ipc, &in, &answer_ops);
}

static void
do_wait(struct life *l)
{
    unsigned ms = take(l) * WAIT_UNIT_MS;

    if (l->nwaits++ < WAITS_MAX)
        world_run(&l->w, ms);
}

static struct fake_process *
some_process(struct life *l)
{
    size_t n = fake_hypervisor_count(l->w.hv);

    return n ? fake_hypervisor_process(l->w.hv, take(l) % n) : NULL;
}

static void
do_ready(struct life *l, uint8_t how)
{
    struct fake_process *p = some_process(l);
    const struct fake_start *start = p ? fake_process_start(p) : NULL;
    size_t i = 0;

    if (!start || start->cid == 0)
        return;
    while (i < l->nguests && l->guests[i].cid != start->cid)
        i++;
    if (i == GUESTS_MAX)
        return;
    if (i == l->nguests) {
        l->guests[i].cid = start->cid;
        l->guests[i].guest = guest_new(&l->w, start->cid);
        l->nguests++;
        if (how & 1)
            guest_set(l->guests[i].guest, "ConfigureNetwork", GUEST_FAILS);
        if (how & 2)
            guest_set(l->guests[i].guest, "SetTime", GUEST_IGNORES);
        if (how & 4)
            guest_set(l->guests[i].guest, "Shutdown", GUEST_IGNORES);
        else
            guest_power_off_on_shutdown(l->guests[i].guest, start->name);
    } else if (l->guests[i].answers == 0) {
        return; /* it waits for an answer */
    }
    guest_call_ready(l->guests[i].guest, &l->guests[i].status, &l->guests[i].answers);
}

static void
do_exit(struct life *l, uint8_t how)
{
    static const enum hypervisor_exit reasons[] = {
        HYPERVISOR_EXIT_POWEROFF, HYPERVISOR_EXIT_RESET, HYPERVISOR_EXIT_KILLED,
        HYPERVISOR_EXIT_ACCEL};
    struct fake_process *p = some_process(l);

    if (p && how & 4)
        fake_process_panic(p);
    else if (p)
        fake_process_exit(p, reasons[how % VMT_ARRAY_SIZE(reasons)], "words");
}

static void
live(struct life *l)
{
    while (l->len > 0) {
        uint8_t step = take(l);

        switch (step & 3) {
        case 0:
            do_call(l);
            break;
        case 1:
            do_wait(l);
            break;
        case 2:
            do_ready(l, step >> 2);
            break;
        default:
            do_exit(l, step >> 2);
            break;
        }
    }
}

static bool
all_answered(const struct life *l)
{
    for (size_t i = 0; i < l->ncalls; i++)
        if (l->answers[i] != 1)
            return false;
    return true;
}

static void
on_shut_down(void *arg)
{
    *(bool *)arg = true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct life l;
    bool ended = false;
    int steps = 0;

    memset(&l, 0, sizeof(l));
    l.data = data;
    l.len = size;
    world_init(&l.w);
    fake_host_add_image(l.w.host, "/k");
    fake_host_add_image(l.w.host, "/r");
    fake_host_add_image(l.w.host, "/d0");
    live(&l);
    concierge_shutdown(l.w.c, on_shut_down, &ended);
    while (!(ended && concierge_vm_count(l.w.c) == 0 && all_answered(&l)) &&
           steps++ < END_STEPS_MAX)
        world_run(&l.w, END_MS);
    if (!ended || !all_answered(&l) || l.w.starting_ups != l.w.stoppeds)
        abort();
    for (size_t i = 0; i < l.nguests; i++)
        guest_free(l.guests[i].guest);
    world_done(&l.w);
    return 0;
}
