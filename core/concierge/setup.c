/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/setup.c - set a guest up through its maitred.
 * Order of the original: ConfigureNetwork, SetResolvConfig, SetTimezone, Mount per disk,
 * then the rest (spec/concierge.md 4.2). Nothing there depends on a step before it but a
 * mount on an earlier mount, so all go out at once and the mounts in a row: a round trip
 * costs milliseconds in a guest without hardware virtualization. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/identity_internal.h"
#include "vm_guest.pb-c.h"
#include "vmt_agent.pb-c.h"

#define DEGRADED_LOGGED_MAX 8
#define SETUP_BREAKS_MAX 3u
#define SETUP_AGAIN_MS 200u

typedef int send_fn(struct concierge_vm *vm, struct setup_call *call,
                    struct vmt_err *err);

struct step {
    const char *what; /* fits after "the guest failed to" */
    const char *path;
    const ProtobufCMessageDescriptor *reply;
    send_fn *send;
    bool required; /* else a failure is only logged */
    bool awaited;  /* the start is answered after it */
};
static const struct step steps[SETUP_STEP_COUNT];

static void send_next_mount(struct concierge_vm *vm);
static bool is_wanted(const struct concierge_vm *vm, enum setup_step n);

static void
step_done(struct concierge_vm *vm)
{
    if (--vm->setup_left == 0)
        vm_post(vm, VM_EV_CONFIGURED);
}

/* Microseconds since the kernel started at which a phase ended; 0: not reported. */
static uint64_t
phase_end(const Vmt__BootReport *report, const char *name)
{
    for (size_t i = 0; i < report->n_phases; i++)
        if (strcmp(report->phases[i]->name, name) == 0)
            return report->phases[i]->at_us;
    return 0;
}

/* PID 1 begins where the kernel ends. A guest may claim what it likes: the numbers are
 * shown, and bounded by what was measured here. */
static void
take_boot_report(struct concierge_vm *vm, const Vmt__BootReport *report)
{
    uint64_t kernel = phase_end(report, "kernel"), agent = phase_end(report, "agent");
    char text[256];

    if (kernel && agent > kernel)
        vm->times.guest_agent_us = agent - kernel;
    for (size_t i = 0; i < report->n_degraded && i < DEGRADED_LOGGED_MAX; i++)
        vmt_log_warning("the guest is degraded: %s vm=%s cid=%u",
                        vmt_log_escape(text, sizeof(text), report->degraded[i],
                                       strlen(report->degraded[i])),
                        vm->key, vm->cid);
}

static void
on_message(void *arg, const ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    struct setup_call *call = arg;

    (void)fds;
    (void)nfds;
    if (call->step == SETUP_MOUNT)
        call->mount_error = ((const VmTools__MountResponse *)reply)->error;
    if (call->step == SETUP_REPORT)
        take_boot_report(call->vm, (const Vmt__BootReport *)reply);
}

/* The connection broke, as it does when the vsock device's worker dies and is replaced:
 * the guest has lost nothing. What it was told already it may be told again. Returns
 * whether there is another attempt. */
static bool
configure_again(struct concierge_vm *vm, const char *why)
{
    if (vm->setup_again)
        return true;
    if (vm->setup_breaks >= SETUP_BREAKS_MAX)
        return false;
    vm->setup_breaks++;
    vm->setup_again = true;
    vmt_log_notice("the set-up of the guest begins again: %s vm=%s cid=%u", why, vm->key,
                   vm->cid);
    vm_arm(vm, SETUP_AGAIN_MS);
    return true;
}

static void
step_failed(struct concierge_vm *vm, const struct step *step, const char *why)
{
    if (step->required) {
        vm_fail(vm, "the guest failed to %s: %s", step->what, why);
        return;
    }
    vmt_log_info("the guest failed to %s: %s vm=%s cid=%u", step->what, why, vm->key,
                 vm->cid);
    if (step->awaited)
        step_done(vm);
}

static void
mount_done(struct concierge_vm *vm, int error)
{
    const struct plan_mount *m = &vm->plan.mounts[vm->mounts_done];

    if (error == EBUSY && vm->setup_breaks)
        error = 0; /* done before, only the answer was lost */
    if (error) {
        vm_fail(vm, "the guest failed to mount %s on %s: %s", m->source, m->target,
                strerror(error));
        return;
    }
    vm->mounts_done++;
    if (vm->mounts_done < vm->plan.nmounts)
        send_next_mount(vm);
    else
        step_done(vm);
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct setup_call *call = arg;
    struct concierge_vm *vm = call->vm;
    const struct step *step = &steps[call->step];
    char why[RPC_MESSAGE_TEXT_MAX + 64], text[RPC_MESSAGE_TEXT_MAX];

    call->active = false;
    if (vm->state != VM_CONFIGURING && step->awaited)
        return; /* a stop came in between */
    if (status->code != RPC_OK) {
        (void)vmt_log_escape(text, sizeof(text), status->text, strlen(status->text));
        (void)snprintf(why, sizeof(why), "%s%s%s", rpc_code_name(status->code),
                       *text ? ": " : "", text);
        if (status->code == RPC_UNAVAILABLE && vm->state == VM_CONFIGURING &&
            configure_again(vm, why))
            return;
        step_failed(vm, step, why);
        return;
    }
    if (call->step == SETUP_MOUNT)
        mount_done(vm, call->mount_error);
    else if (step->awaited)
        step_done(vm);
}

static const struct rpc_client_handler handler = {
    .on_message = on_message,
    .on_done = on_done,
};

static int
send(struct concierge_vm *vm, struct setup_call *call, const void *message,
     struct vmt_err *err)
{
    const struct step *step = &steps[call->step];
    const struct rpc_client_request request = {
        .path = step->path,
        .reply = step->reply,
        .timeout_ms = AGENT_RPC_MS,
        .handler = &handler,
        .arg = call,
    };

    return vm_agent_call(&vm->agent, &request, message, err);
}

static int
send_network(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    VmTools__IPv4Config ipv4 = VM_TOOLS__IPV4_CONFIG__INIT;
    VmTools__NetworkConfigRequest request = VM_TOOLS__NETWORK_CONFIG_REQUEST__INIT;
    struct network_ipv4 own = {0};

    (void)network_ipv4(vm, &own);
    ipv4.address = network_order(own.address);
    ipv4.netmask = network_order(own.mask);
    ipv4.gateway = network_order(own.gateway);
    request.ipv4_config = &ipv4;
    return send(vm, call, &request, err);
}

/* A SetResolvConfigRequest and what it points to. */
struct resolv_request {
    VmTools__SetResolvConfigRequest message;
    VmTools__ResolvConfig config;
    struct host_dns dns;
    char *servers[HOST_DNS_MAX], *domains[HOST_DNS_MAX];
};

static void
fill_resolv(struct concierge_vm *vm, struct resolv_request *rq)
{
    vm_tools__set_resolv_config_request__init(&rq->message);
    vm_tools__resolv_config__init(&rq->config);
    network_dns(vm, &rq->dns);
    for (size_t i = 0; i < rq->dns.nservers; i++)
        rq->servers[i] = rq->dns.servers[i];
    for (size_t i = 0; i < rq->dns.ndomains; i++)
        rq->domains[i] = rq->dns.domains[i];
    rq->config.nameservers = rq->servers;
    rq->config.n_nameservers = rq->dns.nservers;
    rq->config.search_domains = rq->domains;
    rq->config.n_search_domains = rq->dns.ndomains;
    rq->message.resolv_config = &rq->config;
}

static int
send_resolv(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    struct resolv_request request;

    fill_resolv(vm, &request);
    return send(vm, call, &request.message, err);
}

static int
send_time(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    struct vmt_clock *clock = vm->c->config.clock;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    VmTools__SetTimeRequest request = VM_TOOLS__SET_TIME_REQUEST__INIT;

    clock->ops->wall(clock, &time.seconds, &time.nanos);
    request.time = &time;
    return send(vm, call, &request, err);
}

static int
send_zone(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    VmTools__SetTimezoneRequest request;
    char zone[128];

    vm_tools__set_timezone_request__init(&request);
    host->facts->zone(host, zone, sizeof(zone));
    request.timezone_name = zone;
    return send(vm, call, &request, err);
}

static int
send_token(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    VmTools__ConfigureContainerGuestRequest request;

    vm_tools__configure_container_guest_request__init(&request);
    request.container_token = vm->token;
    request.vm_username = vm->plan.vm_username;
    return send(vm, call, &request, err);
}

/* A guest that boots has no past to be kept from, but shares its image with others. */
static int
send_names(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    struct identity_names names;
    int r = identity_names_make(vm, &names, err);

    return r < 0 ? r : send(vm, call, &names.request, err);
}

static int
send_report(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    Vmt__BootReportRequest request = VMT__BOOT_REPORT_REQUEST__INIT;

    return send(vm, call, &request, err);
}

static int
send_mount(struct concierge_vm *vm, struct setup_call *call, struct vmt_err *err)
{
    const struct plan_mount *m = &vm->plan.mounts[vm->mounts_done];
    VmTools__MountRequest request;
    char source[sizeof(m->source)];

    vm_tools__mount_request__init(&request);
    memcpy(source, m->source, sizeof(source));
    request.source = source;
    request.target = m->target;
    request.fstype = m->fstype;
    request.mountflags = m->flags;
    request.options = m->options;
    request.create_target = m->external;
    request.permissions = m->external ? 0777 : 0; /* spec 5 */
    request.mkfs_if_needed = m->external;
    call->mount_error = EIO; /* until the guest says otherwise */
    return send(vm, call, &request, err);
}

#define EMPTY (&vm_tools__empty_message__descriptor)

static const struct step steps[SETUP_STEP_COUNT] = {
    [SETUP_NETWORK] = {"configure its network", "/vm_tools.Maitred/ConfigureNetwork",
                       EMPTY, send_network, true, true},
    [SETUP_RESOLV] = {"set its name servers", "/vm_tools.Maitred/SetResolvConfig", EMPTY,
                      send_resolv, true, true},
    [SETUP_TIME] = {"set its clock", "/vm_tools.Maitred/SetTime", EMPTY, send_time, false,
                    true},
    [SETUP_ZONE] = {"set its time zone", "/vm_tools.Maitred/SetTimezone", EMPTY,
                    send_zone, false, false},
    [SETUP_TOKEN] = {"take its container token",
                     "/vm_tools.Maitred/ConfigureContainerGuest", EMPTY, send_token,
                     false, false},
    [SETUP_NAMES] = {"take a name and a machine-id", "/vmt.Agent/SetIdentity",
                     &vmt__set_identity_response__descriptor, send_names, false, true},
    [SETUP_REPORT] = {"report its boot times", "/vmt.Agent/GetBootReport",
                      &vmt__boot_report__descriptor, send_report, false, true},
    [SETUP_MOUNT] = {"mount a disk", "/vm_tools.Maitred/Mount",
                     &vm_tools__mount_response__descriptor, send_mount, true, true},
};

static void
on_resolv_sent(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct concierge_vm *vm = arg;

    (void)reply;
    if (status->code != RPC_OK && status->code != RPC_CANCELLED)
        vmt_log_info("the guest did not take its name servers: %s vm=%s cid=%u",
                     rpc_code_name(status->code), vm->key, vm->cid);
}

void
setup_send_resolv(struct concierge_vm *vm)
{
    const struct guest_call_spec spec = {
        .path = steps[SETUP_RESOLV].path,
        .reply = steps[SETUP_RESOLV].reply,
        .timeout_ms = AGENT_RPC_MS,
        .done = on_resolv_sent,
        .arg = vm,
    };
    struct resolv_request request;
    struct vmt_err err = {0};

    if (!is_wanted(vm, SETUP_RESOLV))
        return;
    fill_resolv(vm, &request);
    if (guest_call(vm, &spec, &request.message.base, &err) < 0)
        vmt_log_info("the guest cannot be told its name servers: %s vm=%s", err.msg,
                     vm->key);
}

static void
start_step(struct concierge_vm *vm, enum setup_step n)
{
    struct setup_call *call = &vm->setup[n];
    struct vmt_err err = {0};

    *call = (struct setup_call){.vm = vm, .step = n, .active = true};
    if (steps[n].send(vm, call, &err) == 0)
        return;
    call->active = false;
    step_failed(vm, &steps[n], err.msg);
}

static void
send_next_mount(struct concierge_vm *vm)
{
    start_step(vm, SETUP_MOUNT);
}

static bool
is_wanted(const struct concierge_vm *vm, enum setup_step n)
{
    char zone[2];
    struct host *host = vm->c->config.host;

    if (n == SETUP_NETWORK || n == SETUP_RESOLV)
        return vm->plan.net != HYPERVISOR_NET_NONE;
    if (n == SETUP_MOUNT)
        return vm->mounts_done < vm->plan.nmounts;
    if (n == SETUP_NAMES) /* a root that the guest can write keeps its own */
        return strcmp(vm->start_mode, "cold") == 0 && vm->plan.nblocks > 0 &&
               vm->plan.blocks[0].read_only;
    if ((n == SETUP_TIME || n == SETUP_ZONE) && strcmp(vm->start_mode, "cold") != 0)
        return false; /* both came with its identity */
    if (n == SETUP_TOKEN)
        return vm->token[0] != '\0';
    if (n == SETUP_ZONE) {
        host->facts->zone(host, zone, sizeof(zone));
        return zone[0] != '\0';
    }
    return true;
}

static void
on_open(void *arg, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    if (vm->state != VM_CONFIGURING)
        return;
    if (err && configure_again(vm, err->msg))
        return;
    if (err)
        vm_fail(vm, "the guest reported ready, but its agent cannot be reached: %s",
                err->msg);
    else if (vm_identity_wanted(vm))
        vm_identity_send(vm);
    else
        vm_setup_steps(vm);
}

/* All wanted steps are counted before the first one goes out: one that fails at once must
 * not look like the last. */
void
vm_setup_steps(struct concierge_vm *vm)
{
    bool wanted[SETUP_STEP_COUNT];

    vm->mounts_done = 0;
    vm->setup_left = 0;
    for (int n = 0; n < SETUP_STEP_COUNT; n++) {
        wanted[n] = is_wanted(vm, (enum setup_step)n);
        vm->setup_left += wanted[n] && steps[n].awaited;
    }
    for (int n = 0; n < SETUP_STEP_COUNT && vm->state == VM_CONFIGURING; n++)
        if (wanted[n])
            start_step(vm, (enum setup_step)n);
}

void
vm_act_configure(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    vm_disarm(vm);
    follow_mark(vm);
    vm->setup_again = false;
    guest_calls_close(vm);
    if (vm_agent_open(&vm->agent, AGENT_CONNECT_MS, on_open, vm, &err) < 0)
        vm_fail(vm, "connect to the agent of the guest: %s", err.msg);
}
