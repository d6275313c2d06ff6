/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/service.c - the method and signal table.
 * Source of names, types and descriptors: the wire table of org.chromium.VmConcierge. The
 * Android requests are not part of it; they are taken as an EmptyMessage, whose unknown
 * fields are accepted, because the answer does not depend on them. */
#include "core/concierge/service.h"

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/concierge/handlers_internal.h"
#include "core/concierge/refuse_internal.h"
#include "vm_concierge_ipc.file.h"

#define M(type) (&vm_tools__concierge__##type##__descriptor)
#define EMPTY (&vm_tools__empty_message__descriptor)

/* name, request, reply, descriptors in, descriptors out, who may call, handler */
#define METHOD(name, request, reply, in, out, access, handler)                           \
    {                                                                                    \
        name, request, reply, IPC_FDS_##in, IPC_FDS_##out, IPC_ACCESS_##access,          \
            concierge_##handler                                                          \
    }

static const struct ipc_method methods[] = {
    METHOD("AddGroupPermissionMesa", M(add_group_permission_mesa_request), NULL, NONE,
           NONE, OWNER, refuse_add_group_permission_mesa),
    METHOD("AdjustVm", M(adjust_vm_request), M(success_failure_response), NONE, NONE,
           OWNER, refuse_adjust_vm),
    METHOD("AggressiveBalloon", M(aggressive_balloon_request),
           M(success_failure_response), NONE, NONE, OWNER, refuse_aggressive_balloon),
    METHOD("ArcVmCompleteBoot", EMPTY, EMPTY, NONE, NONE, ANY,
           refuse_arc_vm_complete_boot),
    METHOD("AttachKey", M(attach_key_request), M(attach_key_response), ONE, NONE, OWNER,
           refuse_attach_key),
    METHOD("AttachNetDevice", M(attach_net_device_request), M(attach_net_device_response),
           NONE, NONE, OWNER, refuse_attach_net_device),
    METHOD("AttachUsbDevice", M(attach_usb_device_request), M(attach_usb_device_response),
           ONE, NONE, OWNER, refuse_attach_usb_device),
    METHOD("CancelDiskImageOperation", M(cancel_disk_image_request),
           M(success_failure_response), NONE, NONE, ANY,
           refuse_cancel_disk_image_operation),
    METHOD("CreateDiskImage", M(create_disk_image_request), M(create_disk_image_response),
           ARRAY_OPTIONAL, NONE, OWNER, refuse_create_disk_image),
    METHOD("DestroyDiskImage", M(destroy_disk_image_request),
           M(destroy_disk_image_response), NONE, NONE, OWNER, refuse_destroy_disk_image),
    METHOD("DetachNetDevice", M(detach_net_device_request), M(success_failure_response),
           NONE, NONE, OWNER, refuse_detach_net_device),
    METHOD("DetachUsbDevice", M(detach_usb_device_request), M(success_failure_response),
           NONE, NONE, OWNER, refuse_detach_usb_device),
    METHOD("DiskImageStatus", M(disk_image_status_request), M(disk_image_status_response),
           NONE, NONE, ANY, refuse_disk_image_status),
    METHOD("ExportDiskImage", M(export_disk_image_request), M(export_disk_image_response),
           ARRAY, NONE, OWNER, refuse_export_disk_image),
    METHOD("GetBaguetteImageUrl", NULL, M(get_baguette_image_url_response), NONE, NONE,
           ANY, refuse_get_baguette_image_url),
    METHOD("GetBalloonInfo", M(get_balloon_info_request), M(get_balloon_info_response),
           NONE, NONE, OWNER, refuse_get_balloon_info),
    METHOD("GetDnsSettings", NULL, M(dns_settings), NONE, NONE, ANY,
           handle_get_dns_settings),
    METHOD("GetVmEnterpriseReportingInfo", M(get_vm_enterprise_reporting_info_request),
           M(get_vm_enterprise_reporting_info_response), NONE, NONE, OWNER,
           refuse_get_vm_enterprise_reporting_info),
    METHOD("GetVmGpuCachePath", M(get_vm_gpu_cache_path_request),
           M(get_vm_gpu_cache_path_response), NONE, NONE, OWNER,
           refuse_get_vm_gpu_cache_path),
    METHOD("GetVmInfo", M(get_vm_info_request), M(get_vm_info_response), NONE, NONE,
           OWNER, handle_get_vm_info),
    METHOD("GetVmLaunchAllowed", M(get_vm_launch_allowed_request),
           M(get_vm_launch_allowed_response), NONE, NONE, ANY,
           handle_get_vm_launch_allowed),
    METHOD("GetVmLogs", M(get_vm_logs_request), M(get_vm_logs_response), NONE, NONE,
           OWNER, handle_get_vm_logs),
    METHOD("GetVmMemoryManagementKillsConnection",
           M(get_vm_memory_management_kills_connection_request),
           M(get_vm_memory_management_kills_connection_response), NONE, ARRAY, SERVICE,
           refuse_get_vm_memory_management_kills_connection),
    METHOD("ImportDiskImage", M(import_disk_image_request), M(import_disk_image_response),
           ONE, NONE, OWNER, refuse_import_disk_image),
    METHOD("InstallPflash", M(install_pflash_request), M(success_failure_response), ONE,
           NONE, OWNER, refuse_install_pflash),
    METHOD("ListUsbDevices", M(list_usb_device_request), M(list_usb_device_response),
           NONE, NONE, OWNER, refuse_list_usb_devices),
    METHOD("ListVmDisks", M(list_vm_disks_request), M(list_vm_disks_response), NONE, NONE,
           OWNER, refuse_list_vm_disks),
    METHOD("ListVms", M(list_vms_request), M(list_vms_response), NONE, NONE, OWNER,
           handle_list_vms),
    METHOD("ModifyFakePowerConfig", M(modify_fake_power_config_request),
           M(success_failure_response), NONE, NONE, OWNER,
           refuse_modify_fake_power_config),
    METHOD("MuteVmAudio", M(mute_vm_audio_request), M(success_failure_response), NONE,
           NONE, OWNER, refuse_mute_vm_audio),
    METHOD("ReclaimVmMemory", M(reclaim_vm_memory_request), M(reclaim_vm_memory_response),
           NONE, NONE, OWNER, refuse_reclaim_vm_memory),
    METHOD("ResizeDiskImage", M(resize_disk_image_request), M(resize_disk_image_response),
           NONE, NONE, OWNER, refuse_resize_disk_image),
    METHOD("ResumeVm", M(resume_vm_request), M(success_failure_response), NONE, NONE,
           OWNER, refuse_resume_vm),
    METHOD("SetBalloonTimer", M(set_balloon_timer_request), M(success_failure_response),
           NONE, NONE, SERVICE, refuse_set_balloon_timer),
    METHOD("SetCrostiniVmType", M(set_crostini_vm_type_request),
           M(set_crostini_vm_type_response), NONE, NONE, OWNER,
           refuse_set_crostini_vm_type),
    METHOD("SetUpVmUser", M(set_up_vm_user_request), M(set_up_vm_user_response), NONE,
           NONE, OWNER, refuse_set_up_vm_user),
    METHOD("SetVmCpuRestriction", M(set_vm_cpu_restriction_request),
           M(set_vm_cpu_restriction_response), NONE, NONE, SERVICE,
           refuse_set_vm_cpu_restriction),
    METHOD("StartArcVm", EMPTY, M(start_vm_response), NONE, NONE, ANY,
           refuse_start_arc_vm),
    METHOD("StartPluginVm", EMPTY, M(start_vm_response), NONE, NONE, ANY,
           refuse_start_plugin_vm),
    METHOD("StartVm", M(start_vm_request), M(start_vm_response), ARRAY_OPTIONAL, NONE,
           OWNER, handle_start_vm),
    METHOD("StopAllVms", NULL, NULL, NONE, NONE, SERVICE, handle_stop_all_vms),
    METHOD("StopVm", M(stop_vm_request), M(success_failure_response), NONE, NONE, OWNER,
           handle_stop_vm),
    METHOD("StopVmWithoutOwnerId", M(stop_vm_request), M(success_failure_response), NONE,
           NONE, SERVICE, handle_stop_vm_without_owner_id),
    METHOD("SuspendVm", M(suspend_vm_request), M(success_failure_response), NONE, NONE,
           OWNER, refuse_suspend_vm),
    METHOD("SwapVm", M(swap_vm_request), M(success_failure_response), NONE, NONE, OWNER,
           refuse_swap_vm),
    METHOD("SyncVmTimes", NULL, M(sync_vm_times_response), NONE, NONE, SERVICE,
           handle_sync_vm_times),
};

static const struct ipc_signal signals[] = {
    {"DiskImageProgress", M(disk_image_status_response)},
    {"DnsSettingsChanged", M(dns_settings)},
    {"VmGuestUserlandReadySignal", M(vm_guest_userland_ready_signal)},
    {"VmInstallStateSignal", M(vm_install_state_signal)},
    {"VmStartedSignal", M(vm_started_signal)},
    {"VmStartingUpSignal", M(vm_starting_up_signal)},
    {"VmStoppedSignal", M(vm_stopped_signal)},
    {"VmStoppingSignal", M(vm_stopping_signal)},
    {"VmSwappingSignal", M(vm_swapping_signal)},
};

const struct ipc_service concierge_service = {
    .grpc_name = "vm_tools.concierge.VmConcierge",
    .dbus_name = "org.chromium.VmConcierge",
    .dbus_path = "/org/chromium/VmConcierge",
    .methods = methods,
    .nmethods = VMT_ARRAY_SIZE(methods),
    .signals = signals,
    .nsignals = VMT_ARRAY_SIZE(signals),
    .file = &proto_file_vm_concierge_ipc,
};
