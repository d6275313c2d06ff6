/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/follow.c - guests are told when the host's name servers, time zone or
 * clock change. Suspended ones, and those in their set-up, are told when they run. */
#include "core/concierge/follow_internal.h"

#include <stdio.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/watch.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/ipc/ipc.h"
#include "vm_guest.pb-c.h"

static bool
lists_equal(const char a[][HOST_DNS_TEXT_MAX], const char b[][HOST_DNS_TEXT_MAX],
            size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool
dns_equal(const struct host_dns *a, const struct host_dns *b)
{
    return a->nservers == b->nservers && a->ndomains == b->ndomains &&
           lists_equal(a->servers, b->servers, a->nservers) &&
           lists_equal(a->domains, b->domains, a->ndomains);
}

static void
on_told(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct concierge_vm *vm = arg;

    (void)reply;
    if (status->code != RPC_OK && status->code != RPC_CANCELLED)
        vmt_log_info("the guest did not take a change of the host: %s vm=%s cid=%u",
                     rpc_code_name(status->code), vm->key, vm->cid);
}

static void
tell(struct concierge_vm *vm, const char *path,
     void (*refresh)(struct concierge_vm *vm, ProtobufCMessage *message),
     const ProtobufCMessage *message)
{
    const struct guest_call_spec spec = {
        .path = path,
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = AGENT_RPC_MS,
        .refresh = refresh,
        .done = on_told,
        .arg = vm,
    };
    struct vmt_err err = {0};

    if (guest_call(vm, &spec, message, &err) < 0)
        vmt_log_info("the guest cannot be told a change of the host: %s vm=%s", err.msg,
                     vm->key);
}

void
follow_zone(struct concierge_vm *vm)
{
    VmTools__SetTimezoneRequest request;

    vm_tools__set_timezone_request__init(&request);
    request.timezone_name = vm->c->follow.zone;
    if (*request.timezone_name)
        tell(vm, "/vm_tools.Maitred/SetTimezone", NULL, &request.base);
}

static void
tell_time(struct concierge_vm *vm)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    VmTools__SetTimeRequest request = VM_TOOLS__SET_TIME_REQUEST__INIT;

    request.time = &time;
    tell(vm, "/vm_tools.Maitred/SetTime", vm_refresh_time, &request.base);
}

void
follow_mark(struct concierge_vm *vm)
{
    vm->follow_seen = vm->c->follow.generation;
}

void
follow_catch_up(struct concierge_vm *vm)
{
    if (vm->follow_seen == vm->c->follow.generation)
        return;
    follow_mark(vm);
    setup_send_resolv(vm);
    follow_zone(vm);
}

static void
for_running(struct concierge *c, void (*fn)(struct concierge_vm *vm))
{
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (vm->state == VM_RUNNING)
            fn(vm);
    }
}

static void
tell_resolv(struct concierge_vm *vm)
{
    follow_mark(vm);
    setup_send_resolv(vm);
}

static void
tell_new_zone(struct concierge_vm *vm)
{
    follow_mark(vm);
    follow_zone(vm);
}

static void
emit_dns(struct concierge *c)
{
    VmTools__Concierge__DnsSettings settings = VM_TOOLS__CONCIERGE__DNS_SETTINGS__INIT;
    struct host_dns *dns = &c->follow.dns;
    char *servers[HOST_DNS_MAX], *domains[HOST_DNS_MAX];

    for (size_t i = 0; i < dns->nservers; i++)
        servers[i] = dns->servers[i];
    for (size_t i = 0; i < dns->ndomains; i++)
        domains[i] = dns->domains[i];
    settings.nameservers = servers;
    settings.n_nameservers = dns->nservers;
    settings.search_domains = domains;
    settings.n_search_domains = dns->ndomains;
    if (c->ipc && ipc_emit(c->ipc, "DnsSettingsChanged", &settings.base) < 0)
        vmt_log_error("signal DnsSettingsChanged lost");
}

static void
look_at_dns(struct concierge *c)
{
    struct host *host = c->config.host;
    struct host_dns now = {.nservers = 0};

    host->facts->dns(host, &now);
    if (dns_equal(&now, &c->follow.dns))
        return;
    vmt_log_info("the host's name servers changed: %zu servers, %zu domains",
                 now.nservers, now.ndomains);
    c->follow.dns = now;
    c->follow.generation++;
    for_running(c, tell_resolv);
    emit_dns(c); /* spec 8: after the VMs */
}

static void
look_at_zone(struct concierge *c)
{
    struct host *host = c->config.host;
    char now[FOLLOW_ZONE_MAX];

    host->facts->zone(host, now, sizeof(now));
    if (strcmp(now, c->follow.zone) == 0)
        return;
    vmt_log_info("the host's time zone changed: %s", *now ? now : "unknown");
    memcpy(c->follow.zone, now, sizeof(now));
    c->follow.generation++;
    for_running(c, tell_new_zone);
}

static void
on_quiet(void *arg)
{
    struct concierge *c = arg;

    c->follow.quiet = NULL;
    look_at_dns(c);
    look_at_zone(c);
}

static void
on_change(void *arg, enum host_change what)
{
    struct concierge *c = arg;
    struct vmt_clock *clock = c->config.clock;

    if (what == HOST_CHANGE_CLOCK) {
        vmt_log_info("the host's clock was set or the host slept: VMs are told");
        for_running(c, tell_time);
        return;
    }
    if (c->follow.quiet) /* not anew: a file that never rests is looked at, too */
        return;
    if (clock->ops->timer_start(clock, FOLLOW_QUIET_MS, on_quiet, c, &c->follow.quiet) <
        0)
        on_quiet(c);
}

void
follow_start(struct concierge *c)
{
    struct host *host = c->config.host;
    struct host_watch *watch = c->config.watch;
    struct vmt_err err = {0};

    host->facts->dns(host, &c->follow.dns);
    host->facts->zone(host, c->follow.zone, sizeof(c->follow.zone));
    if (watch && watch->ops->start(watch, on_change, c, &err) < 0)
        vmt_log_warning("changes of the host are not followed: %s", err.msg);
    power_start(c);
}

void
follow_stop(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    power_stop(c);
    if (c->config.watch)
        c->config.watch->ops->stop(c->config.watch);
    clock->ops->timer_cancel(clock, c->follow.quiet);
    c->follow.quiet = NULL;
}
