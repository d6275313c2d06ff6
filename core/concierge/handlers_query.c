/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_query.c - methods that only look. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/end_message_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"
#include "vmt_life.pb-c.h"

/* Once its hypervisor is gone a VM is over, though its companion still has to follow. */
static bool
is_over(const struct concierge_vm *vm)
{
    return vm->state == VM_RELEASING || vm->state == VM_GONE;
}

void
concierge_handle_get_vm_info(void *ctx, struct ipc_call *call,
                             const ProtobufCMessage *message)
{
    const VmTools__Concierge__GetVmInfoRequest *request =
        (const VmTools__Concierge__GetVmInfoRequest *)message;
    VmTools__Concierge__GetVmInfoResponse response =
        VM_TOOLS__CONCIERGE__GET_VM_INFO_RESPONSE__INIT;
    VmTools__Concierge__VmInfo info;
    struct concierge_vm *vm = vm_find(ctx, request->owner_id, request->name);
    const struct vm_end *last = ends_find(ctx, request->owner_id, request->name);
    char transport[VM_TRANSPORT_MAX];
    struct end_message ended;

    if (last && !(vm && is_over(vm))) { /* then it is of the one before */
        end_fill(ctx, last, &ended);
        response.last_end = &ended.end;
    }
    if (vm && !is_over(vm)) {
        vm_info_fill(vm, &info, transport);
        info.permission_token = vm->token;
        response.success = true;
        response.vm_info = &info;
    }
    ipc_call_reply(call, &response.base, NULL, 0);
}

struct vm_row {
    VmTools__Concierge__ExtendedVmInfo ext;
    VmTools__Concierge__VmInfo info;
    char transport[VM_TRANSPORT_MAX];
};

static size_t
fill_rows(struct concierge *c, const char *owner, struct vm_row *rows,
          VmTools__Concierge__ExtendedVmInfo **list)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);
        struct vm_row *row = &rows[n];

        if (strcmp(vm->id.owner, owner) != 0 || is_over(vm))
            continue;
        vm_tools__concierge__extended_vm_info__init(&row->ext);
        vm_info_fill(vm, &row->info, row->transport);
        row->ext.name = vm->id.name;
        row->ext.owner_id = vm->id.owner;
        row->ext.vm_info = &row->info;
        row->ext.status = row->info.status;
        list[n++] = &row->ext;
    }
    return n;
}

void
concierge_handle_list_vms(void *ctx, struct ipc_call *call,
                          const ProtobufCMessage *message)
{
    const VmTools__Concierge__ListVmsRequest *request =
        (const VmTools__Concierge__ListVmsRequest *)message;
    VmTools__Concierge__ListVmsResponse response;
    struct concierge *c = ctx;
    size_t max = concierge_vm_count(c);
    VMT_CLEANUP(vmt_freep) struct vm_row *rows = calloc(max + 1, sizeof(*rows));
    VMT_CLEANUP(vmt_freep)
    VmTools__Concierge__ExtendedVmInfo **list = calloc(max + 1, sizeof(void *));
    struct vmt_err err = {0};

    vm_tools__concierge__list_vms_response__init(&response);
    if (vm_owner_check(request->owner_id, &err) < 0) {
        response.failure_reason = err.msg;
    } else if (!rows || !list) {
        response.failure_reason = (char *)(uintptr_t) "out of memory";
    } else {
        response.success = true;
        response.n_vms = fill_rows(c, request->owner_id, rows, list);
        response.vms = list;
    }
    ipc_call_reply(call, &response.base, NULL, 0);
}

/* The newest part of the text, from the start of a line. */
static char *
newest(char *text, size_t max)
{
    size_t len = strlen(text);
    char *line;

    if (len <= max)
        return text;
    text += len - max;
    line = strchr(text, '\n');
    return line ? line + 1 : text;
}

void
concierge_handle_get_vm_logs(void *ctx, struct ipc_call *call,
                             const ProtobufCMessage *message)
{
    const VmTools__Concierge__GetVmLogsRequest *request =
        (const VmTools__Concierge__GetVmLogsRequest *)message;
    VmTools__Concierge__GetVmLogsResponse response;
    struct concierge *c = ctx;
    struct host *host = c->config.host;
    struct vm_id id;
    struct vmt_err err = {0};
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    size_t len = 0;
    int r = vm_id_set(&id, request->owner_id, request->name, &err);

    vm_tools__concierge__get_vm_logs_response__init(&response);
    if (r == 0) {
        path = console_path(c, &id);
        r = path ? host->logs->tail(host, path, VMT_VM_LOGS_MAX, &data, &len, &err)
                 : vmt_err_set(&err, ENOMEM, "read the console log");
    }
    if (r == -ENOENT)
        ipc_call_fail(call, IPC_ERROR_FAILED, "the VM was never started");
    else if (r < 0)
        ipc_call_fail(call, IPC_ERROR_INVALID_ARGS, "%s", err.msg);
    if (r < 0)
        return;
    text = console_escape(data, len);
    if (!text) {
        ipc_call_fail(call, IPC_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    response.log = newest(text, VMT_VM_LOGS_MAX);
    ipc_call_reply(call, &response.base, NULL, 0);
}

void
concierge_handle_get_dns_settings(void *ctx, struct ipc_call *call,
                                  const ProtobufCMessage *message)
{
    VmTools__Concierge__DnsSettings response = VM_TOOLS__CONCIERGE__DNS_SETTINGS__INIT;
    struct concierge *c = ctx;
    struct host *host = c->config.host;
    struct host_dns dns = {.nservers = 0};
    char *servers[HOST_DNS_MAX], *domains[HOST_DNS_MAX];

    (void)message;
    host->facts->dns(host, &dns);
    for (size_t i = 0; i < dns.nservers; i++)
        servers[i] = dns.servers[i];
    for (size_t i = 0; i < dns.ndomains; i++)
        domains[i] = dns.domains[i];
    response.nameservers = servers;
    response.n_nameservers = dns.nservers;
    response.search_domains = domains;
    response.n_search_domains = dns.ndomains;
    ipc_call_reply(call, &response.base, NULL, 0);
}

void
concierge_handle_get_vm_launch_allowed(void *ctx, struct ipc_call *call,
                                       const ProtobufCMessage *message)
{
    VmTools__Concierge__GetVmLaunchAllowedResponse response;
    const char *why = "";

    vm_tools__concierge__get_vm_launch_allowed_response__init(&response);
    (void)message;
    response.allowed = concierge_launch_allowed(ctx, &why);
    response.reason = (char *)(uintptr_t)why;
    ipc_call_reply(call, &response.base, NULL, 0);
}
