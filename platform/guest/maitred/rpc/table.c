/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls by name. */
#include <common.pb-c.h>
#include <vm_guest.file.h>
#include <vm_guest.pb-c.h>
#include <vmt_agent.file.h>
#include <vmt_agent.pb-c.h>

#include "core/base/cleanup.h"
#include "platform/guest/maitred/rpc/handlers.h"

void
rpc_reply_empty(struct rpc_server_call *call)
{
    const VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;

    rpc_server_call_reply(call, &empty.base);
}

#define EMPTY &vm_tools__empty_message__descriptor

static const struct rpc_server_method maitred_methods[] = {
    {"ConfigureNetwork", &vm_tools__network_config_request__descriptor,
     handle_configure_network, false, false},
    {"ConfigureContainerGuest", &vm_tools__configure_container_guest_request__descriptor,
     handle_configure_container_guest, false, false},
    {"ResetIPv6", EMPTY, handle_on_host_network_changed, false,
     false}, /* its older name */
    {"OnHostNetworkChanged", EMPTY, handle_on_host_network_changed, false, false},
    {"Shutdown", EMPTY, handle_shutdown, false, false},
    {"LaunchProcess", &vm_tools__launch_process_request__descriptor,
     handle_launch_process, false, false},
    {"Mount", &vm_tools__mount_request__descriptor, handle_mount, false, false},
    {"StartTermina", &vm_tools__start_termina_request__descriptor, handle_start_termina,
     false, false},
    {"SetTime", &vm_tools__set_time_request__descriptor, handle_set_time, false, false},
    {"SetTimezone", &vm_tools__set_timezone_request__descriptor, handle_set_timezone,
     false, false},
    {"Mount9P", &vm_tools__mount9_prequest__descriptor, handle_mount_9p, false, false},
    {"SetResolvConfig", &vm_tools__set_resolv_config_request__descriptor,
     handle_set_resolv_config, false, false},
    {"GetKernelVersion", EMPTY, handle_get_kernel_version, false, false},
    {"ResizeFilesystem", &vm_tools__resize_filesystem_request__descriptor,
     handle_resize_filesystem, false, false},
    {"GetResizeStatus", EMPTY, handle_get_resize_status, false, false},
    {"GetResizeBounds", EMPTY, handle_get_resize_bounds, false, false},
    {"GetAvailableSpace", EMPTY, handle_get_available_space, false, false},
    {"PrepareToSuspend", EMPTY, handle_prepare_to_suspend, false, false},
    {"UpdateStorageBalloon", &vm_tools__update_storage_balloon_request__descriptor,
     handle_update_storage_balloon, false, false},
    {"SetUpUser", &vm_tools__set_up_user_request__descriptor, handle_set_up_user, false,
     false},
};

const struct rpc_server_service maitred_service = {
    .name = "vm_tools.Maitred",
    .methods = maitred_methods,
    .nmethods = VMT_ARRAY_SIZE(maitred_methods),
    .file = &proto_file_vm_guest,
};

static const struct rpc_server_method agent_methods[] = {
    {"GetBootReport", &vmt__boot_report_request__descriptor, handle_get_boot_report,
     false, false},
    {"SetIdentity", &vmt__set_identity_request__descriptor, handle_set_identity, false,
     false},
    {"Freeze", &vmt__freeze_request__descriptor, handle_freeze, false, false},
    {"Thaw", &vmt__thaw_request__descriptor, handle_thaw, false, false},
    {"ListPrograms", &vmt__list_programs_request__descriptor, handle_list_programs, false,
     false},
    {"StopProgram", &vmt__stop_program_request__descriptor, handle_stop_program, false,
     false},
    {"GetDiskSpace", &vmt__disk_space_request__descriptor, handle_get_disk_space, false,
     false},
};

const struct rpc_server_service agent_service = {
    .name = "vmt.Agent",
    .methods = agent_methods,
    .nmethods = VMT_ARRAY_SIZE(agent_methods),
    .file = &proto_file_vmt_agent,
};
