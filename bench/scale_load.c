/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/scale_load.c - starts VMs, asks about them all the while, and stops them.
 *
 *   bench_scale_load SOCKET COUNT
 *
 * Prints one line per phase, "starting RATE P50 P99 CALLS", then "idle 0 P50 P99 CALLS",
 * waits for a newline on stdin, and prints "stopping ...". RATE is VMs per second, P50
 * and P99 are microseconds that GetVmInfo of some VM took meanwhile. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/ipc/ipc.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/unix_ipc/unix_client.h"

#define VMS_MAX 100000u
#define WINDOW 16u        /* starts or stops in flight */
#define PROBE_EVERY_MS 2u /* while they run */
#define IDLE_CALLS 5000u
#define SAMPLES_MAX 200000u

struct load {
    struct os_loop *loop;
    struct unix_client *client, *prober; /* a connection of its own: nothing waits */
    char owner[IPC_OWNER_MAX];
    unsigned count, begun, ended;
    void (*next)(struct load *load); /* begin one more start or stop */
    double *samples;                 /* owned */
    unsigned nsamples;
    double probe_began;
    bool probing, idle;
    struct vmt_timer *timer;
    int image;
};

static void
die(const char *what, const char *why)
{
    (void)fprintf(stderr, "bench_scale_load: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static double
now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void
name_of(unsigned n, char name[16])
{
    (void)snprintf(name, 16, "vm%u", n);
}

static void
call(struct unix_client *client, struct unix_client_request *request)
{
    struct vmt_err err = {0};

    if (unix_client_start(client, request, NULL, &err) < 0)
        die(request->method, vmt_err_text(&err));
}

static void
one_ended(struct load *load)
{
    load->ended++;
    if (load->begun < load->count)
        load->next(load);
    else if (load->ended == load->count)
        os_loop_stop(load->loop, 0);
}

static void
on_started(void *arg, const struct rpc_status *status,
           const struct ProtobufCMessage *message, const int *fds, size_t nfds)
{
    const VmTools__Concierge__StartVmResponse *reply =
        (const VmTools__Concierge__StartVmResponse *)message;

    (void)fds, (void)nfds;
    if (status->code != RPC_OK)
        die("StartVm", status->text);
    if (!reply->success)
        die("StartVm", reply->failure_reason);
    one_ended(arg);
}

static void
start_one(struct load *load)
{
    VmTools__Concierge__StartVmRequest message =
        VM_TOOLS__CONCIERGE__START_VM_REQUEST__INIT;
    VmTools__Concierge__StartVmRequest__FdType kinds[] = {
        VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__KERNEL};
    char name[16], accel[] = "tcg";
    struct unix_client_request request = {
        .method = "StartVm",
        .message = &message.base,
        .reply = &vm_tools__concierge__start_vm_response__descriptor,
        .fds = &load->image,
        .nfds = 1,
        .on_done = on_started,
        .arg = load,
    };

    name_of(load->begun++, name);
    message.name = name;
    message.owner_id = load->owner;
    message.accel = accel;
    message.cpus = 1;
    message.memory_mib = 128;
    message.diskless = true;
    message.fds = kinds;
    message.n_fds = 1;
    call(load->client, &request);
}

static void
on_stopped(void *arg, const struct rpc_status *status,
           const struct ProtobufCMessage *message, const int *fds, size_t nfds)
{
    const VmTools__Concierge__SuccessFailureResponse *reply =
        (const VmTools__Concierge__SuccessFailureResponse *)message;

    (void)fds, (void)nfds;
    if (status->code != RPC_OK)
        die("StopVm", status->text);
    if (!reply->success)
        die("StopVm", reply->failure_reason);
    one_ended(arg);
}

static void
stop_one(struct load *load)
{
    VmTools__Concierge__StopVmRequest message =
        VM_TOOLS__CONCIERGE__STOP_VM_REQUEST__INIT;
    char name[16];
    struct unix_client_request request = {
        .method = "StopVm",
        .message = &message.base,
        .reply = &vm_tools__concierge__success_failure_response__descriptor,
        .on_done = on_stopped,
        .arg = load,
    };

    name_of(load->begun++, name);
    message.name = name;
    message.owner_id = load->owner;
    call(load->client, &request);
}

static void probe_again(struct load *load);

static void
on_info(void *arg, const struct rpc_status *status,
        const struct ProtobufCMessage *message, const int *fds, size_t nfds)
{
    struct load *load = arg;

    (void)message, (void)fds, (void)nfds;
    if (status->code != RPC_OK)
        die("GetVmInfo", status->text);
    load->probing = false;
    if (load->nsamples < SAMPLES_MAX)
        load->samples[load->nsamples++] = now_us() - load->probe_began;
    probe_again(load);
}

static void
probe(struct load *load)
{
    VmTools__Concierge__GetVmInfoRequest message =
        VM_TOOLS__CONCIERGE__GET_VM_INFO_REQUEST__INIT;
    char name[16];
    struct unix_client_request request = {
        .method = "GetVmInfo",
        .message = &message.base,
        .reply = &vm_tools__concierge__get_vm_info_response__descriptor,
        .on_done = on_info,
        .arg = load,
    };

    name_of(load->nsamples * 7919u % load->count, name);
    message.name = name;
    message.owner_id = load->owner;
    load->probing = true;
    load->probe_began = now_us();
    call(load->prober, &request);
}

static void
on_timer(void *arg)
{
    struct load *load = arg;

    load->timer = NULL;
    probe(load);
}

static void
probe_again(struct load *load)
{
    struct vmt_clock *clock = os_loop_clock(load->loop);

    if (load->idle && load->nsamples >= IDLE_CALLS)
        os_loop_stop(load->loop, 0);
    else if (load->idle)
        probe(load);
    else if (clock->ops->timer_start(clock, PROBE_EVERY_MS, on_timer, load,
                                     &load->timer) < 0)
        die("a timer", "out of memory");
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
report(struct load *load, const char *phase, double rate)
{
    unsigned n = load->nsamples;

    qsort(load->samples, n, sizeof(*load->samples), by_value);
    (void)printf("%s %.1f %.1f %.1f %u\n", phase, rate, n ? load->samples[n / 2] : 0,
                 n ? load->samples[n * 99 / 100] : 0, n);
    (void)fflush(stdout);
    load->nsamples = 0;
}

static void
run_all(struct load *load, const char *phase, void (*next)(struct load *load))
{
    double began = now_us();

    load->next = next;
    load->begun = load->ended = 0;
    if (!load->probing && !load->timer)
        probe_again(load);
    for (unsigned i = 0; i < WINDOW && load->begun < load->count; i++)
        next(load);
    (void)os_loop_run(load->loop);
    report(load, phase, load->count / (now_us() - began) * 1e6);
}

static void
ask_only(struct load *load)
{
    load->idle = true;
    if (!load->probing && !load->timer)
        probe(load);
    (void)os_loop_run(load->loop);
    report(load, "idle", 0);
    load->idle = false;
}

static void
open_clients(struct load *load, const char *path)
{
    const struct unix_client_config config = {
        .path = path, .service = "vm_tools.concierge.VmConcierge"};
    struct vmt_err err = {0};

    if (os_loop_new(&load->loop, &err) < 0 ||
        unix_client_new(load->loop, &config, &load->client, &err) < 0 ||
        unix_client_new(load->loop, &config, &load->prober, &err) < 0)
        die(path, vmt_err_text(&err));
}

int
main(int argc, char **argv)
{
    struct load load = {.image = -1};
    uint64_t count = 0;

    os_process_init();
    vmt_log_init("bench_scale_load", NULL, NULL);
    if (argc != 3 || vmt_parse_u64(argv[2], VMS_MAX, &count) < 0 || count == 0)
        die("usage", "bench_scale_load SOCKET COUNT");
    load.count = (unsigned)count;
    load.samples = calloc(SAMPLES_MAX, sizeof(*load.samples));
    load.image = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* as good as a kernel */
    if (!load.samples || load.image < 0)
        die("set-up", "no memory or no /proc");
    ipc_owner_for_uid(geteuid(), load.owner);
    open_clients(&load, argv[1]);
    run_all(&load, "starting", start_one);
    ask_only(&load);
    (void)getchar();
    run_all(&load, "stopping", stop_one);
    unix_client_free(load.client);
    unix_client_free(load.prober);
    os_loop_free(load.loop);
    free(load.samples);
    return EXIT_SUCCESS;
}
