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
#include "vmt_hotplug.pb-c.h"
#include "vmt_life.pb-c.h"
#include "vmt_snapshot.pb-c.h"

#define M(type) (&vm_tools__concierge__##type##__descriptor)
#define EMPTY (&vm_tools__empty_message__descriptor)

/* name, request, reply, descriptors in, descriptors out, who may call, handler */
#define ROW(name, request, reply, in, out, access, handler, refused)                     \
    {                                                                                    \
        name, request, reply, IPC_FDS_##in, IPC_FDS_##out, IPC_ACCESS_##access, handler, \
            refused                                                                      \
    }
#define METHOD(name, request, reply, in, out, access, handler)                           \
    ROW(name, request, reply, in, out, access, concierge_handle_##handler, false)
#define REFUSED(name, request, reply, in, out, access, handler)                          \
    ROW(name, request, reply, in, out, access, concierge_refuse_##handler, true)

static const struct ipc_method methods[] = {
    REFUSED("AddGroupPermissionMesa", M(add_group_permission_mesa_request), NULL, NONE,
            NONE, OWNER, add_group_permission_mesa),
    METHOD("AdjustVm", M(adjust_vm_request), M(success_failure_response), NONE, NONE,
           OWNER, adjust_vm),
    REFUSED("AggressiveBalloon", M(aggressive_balloon_request),
            M(success_failure_response), NONE, NONE, OWNER, aggressive_balloon),
    REFUSED("ArcVmCompleteBoot", EMPTY, EMPTY, NONE, NONE, ANY, arc_vm_complete_boot),
    METHOD("AttachDisk", &vmt__attach_disk_request__descriptor,
           &vmt__attach_disk_response__descriptor, ARRAY_OPTIONAL, NONE, OWNER,
           attach_disk),
    REFUSED("AttachKey", M(attach_key_request), M(attach_key_response), ONE, NONE, OWNER,
            attach_key),
    METHOD("AttachNetDevice", M(attach_net_device_request), M(attach_net_device_response),
           NONE, NONE, OWNER, attach_net_device),
    METHOD("AttachUsbDevice", M(attach_usb_device_request), M(attach_usb_device_response),
           ONE, NONE, OWNER, attach_usb_device),
    METHOD("CancelDiskImageOperation", M(cancel_disk_image_request),
           M(success_failure_response), NONE, NONE, ANY, cancel_disk_image_operation),
    METHOD("CreateDiskImage", M(create_disk_image_request), M(create_disk_image_response),
           ARRAY_OPTIONAL, NONE, OWNER, create_disk_image),
    METHOD("CreateSnapshot", &vmt__create_snapshot_request__descriptor,
           &vmt__create_snapshot_response__descriptor, NONE, NONE, OWNER,
           create_snapshot),
    METHOD("DeleteSnapshot", &vmt__delete_snapshot_request__descriptor,
           M(success_failure_response), NONE, NONE, OWNER, delete_snapshot),
    METHOD("DestroyDiskImage", M(destroy_disk_image_request),
           M(destroy_disk_image_response), NONE, NONE, OWNER, destroy_disk_image),
    METHOD("DetachDisk", &vmt__detach_disk_request__descriptor,
           M(success_failure_response), NONE, NONE, OWNER, detach_disk),
    METHOD("DetachNetDevice", M(detach_net_device_request), M(success_failure_response),
           NONE, NONE, OWNER, detach_net_device),
    METHOD("DetachUsbDevice", M(detach_usb_device_request), M(success_failure_response),
           NONE, NONE, OWNER, detach_usb_device),
    METHOD("DiskImageStatus", M(disk_image_status_request), M(disk_image_status_response),
           NONE, NONE, ANY, disk_image_status),
    METHOD("ExportDiskImage", M(export_disk_image_request), M(export_disk_image_response),
           ARRAY, NONE, OWNER, export_disk_image),
    REFUSED("GetBaguetteImageUrl", NULL, M(get_baguette_image_url_response), NONE, NONE,
            ANY, get_baguette_image_url),
    METHOD("GetBalloonInfo", M(get_balloon_info_request), M(get_balloon_info_response),
           NONE, NONE, OWNER, get_balloon_info),
    METHOD("GetDnsSettings", NULL, M(dns_settings), NONE, NONE, ANY, get_dns_settings),
    METHOD("GetVmEnterpriseReportingInfo", M(get_vm_enterprise_reporting_info_request),
           M(get_vm_enterprise_reporting_info_response), NONE, NONE, OWNER,
           get_vm_enterprise_reporting_info),
    REFUSED("GetVmGpuCachePath", M(get_vm_gpu_cache_path_request),
            M(get_vm_gpu_cache_path_response), NONE, NONE, OWNER, get_vm_gpu_cache_path),
    METHOD("GetVmInfo", M(get_vm_info_request), M(get_vm_info_response), NONE, NONE,
           OWNER, get_vm_info),
    METHOD("GetVmLaunchAllowed", M(get_vm_launch_allowed_request),
           M(get_vm_launch_allowed_response), NONE, NONE, ANY, get_vm_launch_allowed),
    METHOD("GetVmLogs", M(get_vm_logs_request), M(get_vm_logs_response), NONE, NONE,
           OWNER, get_vm_logs),
    REFUSED("GetVmMemoryManagementKillsConnection",
            M(get_vm_memory_management_kills_connection_request),
            M(get_vm_memory_management_kills_connection_response), NONE, ARRAY, SERVICE,
            get_vm_memory_management_kills_connection),
    METHOD("ImportDiskImage", M(import_disk_image_request), M(import_disk_image_response),
           ONE, NONE, OWNER, import_disk_image),
    METHOD("InstallPflash", M(install_pflash_request), M(success_failure_response), ONE,
           NONE, OWNER, install_pflash),
    METHOD("ListSnapshots", &vmt__list_snapshots_request__descriptor,
           &vmt__list_snapshots_response__descriptor, NONE, NONE, OWNER, list_snapshots),
    METHOD("ListUsbDevices", M(list_usb_device_request), M(list_usb_device_response),
           NONE, NONE, OWNER, list_usb_devices),
    METHOD("ListVmDisks", M(list_vm_disks_request), M(list_vm_disks_response), NONE, NONE,
           OWNER, list_vm_disks),
    METHOD("ListVms", M(list_vms_request), M(list_vms_response), NONE, NONE, OWNER,
           list_vms),
    REFUSED("ModifyFakePowerConfig", M(modify_fake_power_config_request),
            M(success_failure_response), NONE, NONE, OWNER, modify_fake_power_config),
    REFUSED("MuteVmAudio", M(mute_vm_audio_request), M(success_failure_response), NONE,
            NONE, OWNER, mute_vm_audio),
    METHOD("ReclaimVmMemory", M(reclaim_vm_memory_request), M(reclaim_vm_memory_response),
           NONE, NONE, OWNER, reclaim_vm_memory),
    METHOD("ResizeDiskImage", M(resize_disk_image_request), M(resize_disk_image_response),
           NONE, NONE, OWNER, resize_disk_image),
    METHOD("RestoreSnapshot", &vmt__restore_snapshot_request__descriptor,
           M(start_vm_response), NONE, NONE, OWNER, restore_snapshot),
    METHOD("ResumeVm", M(resume_vm_request), M(success_failure_response), NONE, NONE,
           OWNER, resume_vm),
    METHOD("SetBalloonTimer", M(set_balloon_timer_request), M(success_failure_response),
           NONE, NONE, SERVICE, set_balloon_timer),
    REFUSED("SetCrostiniVmType", M(set_crostini_vm_type_request),
            M(set_crostini_vm_type_response), NONE, NONE, OWNER, set_crostini_vm_type),
    METHOD("SetUpVmUser", M(set_up_vm_user_request), M(set_up_vm_user_response), NONE,
           NONE, OWNER, set_up_vm_user),
    METHOD("SetVmCpuRestriction", M(set_vm_cpu_restriction_request),
           M(set_vm_cpu_restriction_response), NONE, NONE, SERVICE,
           set_vm_cpu_restriction),
    REFUSED("StartArcVm", EMPTY, M(start_vm_response), NONE, NONE, ANY, start_arc_vm),
    REFUSED("StartPluginVm", EMPTY, M(start_vm_response), NONE, NONE, ANY,
            start_plugin_vm),
    METHOD("StartVm", M(start_vm_request), M(start_vm_response), ARRAY_OPTIONAL, NONE,
           OWNER, start_vm),
    METHOD("StopAllVms", NULL, NULL, NONE, NONE, SERVICE, stop_all_vms),
    METHOD("StopVm", M(stop_vm_request), M(success_failure_response), NONE, NONE, OWNER,
           stop_vm),
    METHOD("StopVmWithoutOwnerId", M(stop_vm_request), M(success_failure_response), NONE,
           NONE, SERVICE, stop_vm_without_owner_id),
    METHOD("SuspendVm", M(suspend_vm_request), M(success_failure_response), NONE, NONE,
           OWNER, suspend_vm),
    REFUSED("SwapVm", M(swap_vm_request), M(success_failure_response), NONE, NONE, OWNER,
            swap_vm),
    METHOD("SyncVmTimes", NULL, M(sync_vm_times_response), NONE, NONE, SERVICE,
           sync_vm_times),
    /* Our own, see proto/vmt_life.proto. */
    METHOD("WaitVm", &vmt__wait_vm_request__descriptor,
           &vmt__wait_vm_response__descriptor, NONE, NONE, OWNER, wait_vm),
};

static const struct ipc_signal signals[] = {
    {"DiskImageProgress", M(disk_image_status_response)},
    {"DnsSettingsChanged", M(dns_settings)},
    {"SnapshotProgress", &vmt__snapshot_progress__descriptor},
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
