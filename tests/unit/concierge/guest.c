/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/concierge/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "tests/unit/test.h"
#include "vm_guest.pb-c.h"
#include "vmt_agent.pb-c.h"

#define WAYS_MAX 16

/* One connection to the host and the call on it. */
struct caller {
    struct guest *g;
    struct rpc_client *client;
    struct transport_op *op;
    struct rpc_status *status;
    int *answers;
    const Vmt__GuestEvent *event; /* NULL: VmReady */
};

struct guest {
    struct world *w;
    uint32_t cid;
    struct transport *transport;
    struct transport_listener *listener;
    struct rpc_server *server;
    struct caller ready, report;
    struct {
        char method[40];
        enum guest_way way;
    } ways[WAYS_MAX];
    size_t nways;
    int mount_error;
    uint64_t available, min_size;
    struct guest_resize resize;
    int64_t time;
    struct guest_identity identity;
    char resolv[128], zone[64];
    char power_off[64];
    char calls[1024];
};

static enum guest_way
way_of(struct guest *g, const char *method)
{
    for (size_t i = g->nways; i-- > 0;)
        if (strcmp(g->ways[i].method, method) == 0)
            return g->ways[i].way;
    return GUEST_ANSWERS;
}

/* Hostile enough: a name of its own choice, and an escape sequence. */
static void
answer_user(struct rpc_server_call *call)
{
    VmTools__SetUpUserResponse user;
    char name[] = "other", why[] = "taken\x1b[2J";

    vm_tools__set_up_user_response__init(&user);
    user.username = name;
    user.failure_reason = why;
    rpc_server_call_reply(call, &user.base);
}

static void
answer_kernel(struct rpc_server_call *call)
{
    VmTools__GetKernelVersionResponse kernel;
    char release[] = "6.1.0", version[] = "#1 SMP";

    vm_tools__get_kernel_version_response__init(&kernel);
    kernel.kernel_release = release;
    kernel.kernel_version = version;
    rpc_server_call_reply(call, &kernel.base);
}

static void
answer(struct guest *g, struct rpc_server_call *call, const char *method)
{
    VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;
    VmTools__MountResponse mount = VM_TOOLS__MOUNT_RESPONSE__INIT;
    Vmt__BootPhase kernel, agent;
    Vmt__BootPhase *phases[] = {&kernel, &agent};
    Vmt__BootReport report;
    Vmt__SetIdentityResponse identity = VMT__SET_IDENTITY_RESPONSE__INIT;
    Vmt__FreezeResponse freeze = VMT__FREEZE_RESPONSE__INIT;
    Vmt__ThawResponse thaw = VMT__THAW_RESPONSE__INIT;
    char kernel_name[] = "kernel", agent_name[] = "agent";

    vmt__boot_report__init(&report);
    vmt__boot_phase__init(&kernel);
    vmt__boot_phase__init(&agent);
    mount.error = g->mount_error;
    kernel.name = kernel_name;
    kernel.at_us = 300000;
    agent.name = agent_name;
    agent.at_us = 340000;
    report.phases = phases;
    report.n_phases = VMT_ARRAY_SIZE(phases);
    if (strcmp(method, "Mount") == 0)
        rpc_server_call_reply(call, &mount.base);
    else if (strcmp(method, "SetUpUser") == 0)
        answer_user(call);
    else if (strcmp(method, "GetKernelVersion") == 0)
        answer_kernel(call);
    else if (strcmp(method, "Freeze") == 0)
        rpc_server_call_reply(call, &freeze.base);
    else if (strcmp(method, "Thaw") == 0)
        rpc_server_call_reply(call, &thaw.base);
    else if (strcmp(method, "SetIdentity") == 0)
        rpc_server_call_reply(call, &identity.base);
    else if (strcmp(method, "GetBootReport") == 0)
        rpc_server_call_reply(call, &report.base);
    else
        rpc_server_call_reply(call, &empty.base);
}

static void
answer_space(struct guest *g, struct rpc_server_call *call)
{
    Vmt__DiskSpace space = VMT__DISK_SPACE__INIT;

    space.available_bytes = g->available;
    space.min_bytes = g->min_size;
    rpc_server_call_reply(call, &space.base);
}

static void
answer_resize(struct guest *g, struct rpc_server_call *call,
              const VmTools__ResizeFilesystemRequest *rq)
{
    VmTools__ResizeFilesystemResponse reply = VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__INIT;

    g->resize.asked = rq->size;
    (void)snprintf(g->resize.serial, sizeof(g->resize.serial), "%s", rq->serial);
    g->resize.in_progress = true;
    reply.status = VM_TOOLS__RESIZE_FILESYSTEM_RESPONSE__RESIZE_STATUS__STARTED;
    rpc_server_call_reply(call, &reply.base);
}

static void
answer_resize_status(struct guest *g, struct rpc_server_call *call)
{
    VmTools__GetResizeStatusResponse reply = VM_TOOLS__GET_RESIZE_STATUS_RESPONSE__INIT;

    reply.resize_in_progress = g->resize.in_progress;
    reply.current_size = g->resize.current;
    reply.target_size = g->resize.asked;
    rpc_server_call_reply(call, &reply.base);
}

static void
power_off(struct guest *g)
{
    struct fake_process *p = fake_hypervisor_find(g->w->hv, g->power_off);

    if (p)
        fake_process_exit(p, HYPERVISOR_EXIT_POWEROFF, "");
}

static void
take_identity(struct guest *g, const Vmt__SetIdentityRequest *request)
{
    struct guest_identity *id = &g->identity;

    (void)snprintf(id->hostname, sizeof(id->hostname), "%s", request->hostname);
    (void)snprintf(id->machine_id, sizeof(id->machine_id), "%s", request->machine_id);
    (void)snprintf(id->disks, sizeof(id->disks), "%s",
                   request->n_disk_serials ? request->disk_serials[0] : "");
    id->entropy = request->entropy.len;
    id->mac = request->mac_address.len;
    id->time_ns = request->wall_time_ns;
    id->sent++;
}

static void
note_resolv(struct guest *g, const VmTools__ResolvConfig *config)
{
    (void)snprintf(g->resolv, sizeof(g->resolv), "%s %s",
                   config->n_nameservers ? config->nameservers[0] : "",
                   config->n_search_domains ? config->search_domains[0] : "");
}

static void
handle(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    struct guest *g = ctx;
    const char *method = rpc_server_call_method(call)->name;
    size_t at = strlen(g->calls);

    if (strcmp(method, "SetTime") == 0)
        g->time = ((const VmTools__SetTimeRequest *)request)->time->seconds;
    if (strcmp(method, "SetIdentity") == 0)
        take_identity(g, (const Vmt__SetIdentityRequest *)request);
    if (strcmp(method, "SetResolvConfig") == 0)
        note_resolv(g, ((const VmTools__SetResolvConfigRequest *)request)->resolv_config);
    if (strcmp(method, "SetTimezone") == 0)
        (void)snprintf(g->zone, sizeof(g->zone), "%s",
                       ((const VmTools__SetTimezoneRequest *)request)->timezone_name);
    (void)snprintf(g->calls + at, sizeof(g->calls) - at, "%s%s", at ? " " : "", method);
    switch (way_of(g, method)) {
    case GUEST_IGNORES:
        return;
    case GUEST_FAILS:
        rpc_server_call_fail(call, RPC_INTERNAL, "no luck");
        return;
    case GUEST_ANSWERS:
        break;
    }
    if (strcmp(method, "GetDiskSpace") == 0)
        answer_space(g, call);
    else if (strcmp(method, "ResizeFilesystem") == 0)
        answer_resize(g, call, (const VmTools__ResizeFilesystemRequest *)request);
    else if (strcmp(method, "GetResizeStatus") == 0)
        answer_resize_status(g, call);
    else
        answer(g, call, method);
    if (strcmp(method, "Shutdown") == 0 && g->power_off[0])
        power_off(g);
}

#define METHOD(n, type)                                                                  \
    {                                                                                    \
        .name = n, .request = &type##__descriptor, .handle = handle                      \
    }

static const struct rpc_server_method maitred_methods[] = {
    METHOD("ConfigureContainerGuest", vm_tools__configure_container_guest_request),
    METHOD("ConfigureNetwork", vm_tools__network_config_request),
    METHOD("GetResizeStatus", vm_tools__empty_message),
    METHOD("Mount", vm_tools__mount_request),
    METHOD("PrepareToSuspend", vm_tools__empty_message),
    METHOD("ResizeFilesystem", vm_tools__resize_filesystem_request),
    METHOD("GetKernelVersion", vm_tools__empty_message),
    METHOD("SetUpUser", vm_tools__set_up_user_request),
    METHOD("SetResolvConfig", vm_tools__set_resolv_config_request),
    METHOD("SetTime", vm_tools__set_time_request),
    METHOD("SetTimezone", vm_tools__set_timezone_request),
    METHOD("Shutdown", vm_tools__empty_message),
    METHOD("UpdateStorageBalloon", vm_tools__update_storage_balloon_request),
};
static const struct rpc_server_service maitred = {.name = "vm_tools.Maitred",
                                                  .methods = maitred_methods,
                                                  .nmethods =
                                                      VMT_ARRAY_SIZE(maitred_methods)};
static const struct rpc_server_method agent_methods[] = {
    METHOD("GetBootReport", vmt__boot_report_request),
    METHOD("SetIdentity", vmt__set_identity_request),
    METHOD("Freeze", vmt__freeze_request),
    METHOD("Thaw", vmt__thaw_request),
    METHOD("GetDiskSpace", vmt__disk_space_request),
};
static const struct rpc_server_service agent_service = {
    .name = "vmt.Agent",
    .methods = agent_methods,
    .nmethods = VMT_ARRAY_SIZE(agent_methods)};

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct guest *g = arg;

    rpc_server_accept(g->server, s, peer);
}

struct guest *
guest_new(struct world *w, uint32_t cid)
{
    struct guest *g = calloc(1, sizeof(*g));
    struct vmt_clock *clock = fake_clock_base(w->clock);

    assert_non_null(g);
    g->w = w;
    g->cid = cid;
    assert_int_equal(fake_net_transport(w->net, cid, &g->transport), 0);
    assert_int_equal(g->transport->ops->vm_add(g->transport, VMT_CID_HOST, "", NULL), 0);
    assert_int_equal(
        rpc_server_new(clock, &(struct rpc_server_config){0}, &g->server, NULL), 0);
    assert_int_equal(rpc_server_add(g->server, &maitred, g, NULL), 0);
    assert_int_equal(rpc_server_add(g->server, &agent_service, g, NULL), 0);
    assert_int_equal(g->transport->ops->listen(g->transport, VMT_PORT_MAITRED, on_accept,
                                               g, &g->listener, NULL),
                     0);
    return g;
}

static void
caller_done(struct caller *c)
{
    if (c->op)
        c->g->transport->ops->cancel(c->op);
    rpc_client_free(c->client);
    *c = (struct caller){.g = c->g};
}

void
guest_free(struct guest *g)
{
    caller_done(&g->ready);
    caller_done(&g->report);
    rpc_server_free(g->server);
    g->transport->ops->unlisten(g->listener);
    g->transport->ops->free(g->transport);
    free(g);
}

void
guest_set(struct guest *g, const char *method, enum guest_way way)
{
    assert_true(g->nways < WAYS_MAX);
    (void)snprintf(g->ways[g->nways].method, sizeof(g->ways[0].method), "%s", method);
    g->ways[g->nways++].way = way;
}

void
guest_set_space(struct guest *g, uint64_t available, uint64_t min_size)
{
    g->available = available;
    g->min_size = min_size;
}

struct guest_resize *
guest_resize(struct guest *g)
{
    return &g->resize;
}

void
guest_set_mount_error(struct guest *g, int error)
{
    g->mount_error = error;
}

void
guest_power_off_on_shutdown(struct guest *g, const char *vm_name)
{
    (void)snprintf(g->power_off, sizeof(g->power_off), "%s", vm_name);
}

static void
on_answer(void *arg, const struct rpc_status *status)
{
    struct caller *c = arg;

    *c->status = *status;
    ++*c->answers;
}

static const struct rpc_client_handler caller_handler = {.on_done = on_answer};

static void
call_host(struct caller *c)
{
    const struct rpc_client_request request = {
        .path = c->event ? "/vmt.GuestListener/ReportEvent"
                         : "/vm_tools.StartupListener/VmReady",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = 5000,
        .handler = &caller_handler,
        .arg = c,
    };
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;

    assert_int_equal(rpc_client_start(c->client, &request,
                                      c->event ? &c->event->base : &message.base, NULL,
                                      NULL),
                     0);
}

static void
on_connected(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct caller *c = arg;
    const struct rpc_client_config config = {.authority = NULL};

    (void)err;
    c->op = NULL;
    if (!s) {
        *c->status = (struct rpc_status){.code = RPC_UNAVAILABLE};
        ++*c->answers;
        return;
    }
    assert_int_equal(
        rpc_client_new(fake_clock_base(c->g->w->clock), s, &config, &c->client, NULL), 0);
    call_host(c);
}

static void
reach_host(struct guest *g, struct caller *c, const Vmt__GuestEvent *event,
           struct rpc_status *ret_status, int *answers)
{
    const struct transport_dial dial = {
        .cid = VMT_CID_HOST,
        .port = VMT_PORT_STARTUP_LISTENER,
        .timeout_ms = 5000,
        .on_done = on_connected,
        .arg = c,
    };

    c->g = g;
    caller_done(c);
    c->event = event;
    c->status = ret_status;
    c->answers = answers;
    *answers = 0;
    assert_int_equal(g->transport->ops->connect(g->transport, &dial, &c->op, NULL), 0);
}

void
guest_call_ready(struct guest *g, struct rpc_status *ret_status, int *answers)
{
    reach_host(g, &g->ready, NULL, ret_status, answers);
}

void
guest_report(struct guest *g, const Vmt__GuestEvent *event, struct rpc_status *ret_status,
             int *answers)
{
    reach_host(g, &g->report, event, ret_status, answers);
}

int64_t
guest_time(const struct guest *g)
{
    return g->time;
}

const char *
guest_resolv(const struct guest *g)
{
    return g->resolv;
}

const char *
guest_zone(const struct guest *g)
{
    return g->zone;
}

void
guest_forget_calls(struct guest *g)
{
    g->calls[0] = '\0';
}

const char *
guest_calls(const struct guest *g)
{
    return g->calls;
}

const struct guest_identity *
guest_identity(const struct guest *g)
{
    return &g->identity;
}
