/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/vm_info.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "core/base/err.h"

static const char *const status_names[] = {
    [VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_UNKNOWN] = "unknown",
    [VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING] = "running",
    [VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING] = "starting",
    [VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_FAILURE] = "failed",
    [VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_DISK_OP_IN_PROGRESS] = "disk operation",
    [VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STOPPED] = "stopped",
};

static const char *const type_names[] = {
    [VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__UNKNOWN] = "unknown",
    [VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__TERMINA] = "termina",
    [VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__ARC_VM] = "arcvm",
    [VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__PLUGIN_VM] = "pluginvm",
    [VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__BOREALIS] = "borealis",
    [VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__BRUSCHETTA] = "bruschetta",
    [VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__BAGUETTE] = "baguette",
};

static const char *
name_of(const char *const *names, size_t n, int value)
{
    return value >= 0 && (size_t)value < n && names[value] ? names[value] : "unknown";
}

const char *
vm_status_name(int status)
{
    return name_of(status_names, VMT_ARRAY_SIZE(status_names), status);
}

const char *
vm_type_name(int type)
{
    return name_of(type_names, VMT_ARRAY_SIZE(type_names), type);
}

/* Nothing is put for what a daemon does not fill in. */
static int
put_info(json_t *vm, const VmTools__Concierge__VmInfo *info)
{
    char ipv4[INET_ADDRSTRLEN];
    int r =
        json_object_set_new(vm, "type", json_string(vm_type_name((int)info->vm_type)));

    if (*info->state)
        r |= json_object_set_new(vm, "state", json_string(info->state));
    if (*info->start_mode)
        r |= json_object_set_new(vm, "start_mode", json_string(info->start_mode));
    if (info->uptime_ms)
        r |= json_object_set_new(vm, "uptime_ms",
                                 json_integer((json_int_t)info->uptime_ms));
    if (*info->restart_mode) {
        r |= json_object_set_new(vm, "restart", json_string(info->restart_mode));
        r |= json_object_set_new(vm, "restarts", json_integer(info->restarts));
    }
    r |= json_object_set_new(vm, "cid", json_integer(info->cid));
    r |= json_object_set_new(vm, "pid", json_integer(info->pid));
    r |= json_object_set_new(vm, "transport", json_string(info->transport));
    if (info->allocated_memory)
        r |=
            json_object_set_new(vm, "memory_bytes", json_integer(info->allocated_memory));
    if (info->cpu_weight)
        r |= json_object_set_new(vm, "cpu_weight", json_integer(info->cpu_weight));
    if (info->storage_ballooning)
        r |= json_object_set_new(vm, "storage_ballooning", json_string("on"));
    /* The address is in network order as it stands. */
    if (info->ipv4_address && inet_ntop(AF_INET, &info->ipv4_address, ipv4, sizeof(ipv4)))
        r |= json_object_set_new(vm, "ipv4_address", json_string(ipv4));
    if (*info->mac_address)
        r |= json_object_set_new(vm, "mac_address", json_string(info->mac_address));
    if (info->oom_kills) {
        r |= json_object_set_new(vm, "oom_kills",
                                 json_integer((json_int_t)info->oom_kills));
        r |= json_object_set_new(vm, "oom_group", json_string(info->oom_group));
    }
    if (info->memory_pressure_permille)
        r |= json_object_set_new(vm, "memory_pressure_permille",
                                 json_integer(info->memory_pressure_permille));
    if (*info->network)
        r |= json_object_set_new(vm, "network", json_string(info->network));
    return r;
}

json_t *
vm_info_json(const char *name, const char *owner, int status,
             const VmTools__Concierge__VmInfo *info)
{
    VMT_CLEANUP(json_decrefp) json_t *vm = json_object();
    int r;

    if (!vm)
        return NULL;
    r = json_object_set_new(vm, "name", json_string(name));
    r |= json_object_set_new(vm, "owner_id", json_string(owner));
    r |= json_object_set_new(vm, "status", json_string(vm_status_name(status)));
    if (info)
        r |= put_info(vm, info);
    return r ? NULL : json_incref(vm);
}

int
print_json(json_t *json, struct vmt_err *err)
{
    int r;

    if (!json)
        return vmt_err_set(err, ENOMEM, "print the answer");
    r = json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    json_decref(json);
    if (r < 0 || printf("\n") < 0 || fflush(stdout) != 0)
        return vmt_err_set(err, EIO, "write to stdout");
    return 0;
}
