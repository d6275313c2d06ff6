/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_internal.h - the methods that do something. ctx is a struct
 * concierge.
 */
#pragma once

struct ProtobufCMessage;
struct ipc_call;

#define CONCIERGE_HANDLER(name)                                                          \
    void concierge_handle_##name(void *ctx, struct ipc_call *call,                       \
                                 const struct ProtobufCMessage *request);
CONCIERGE_HANDLER(adjust_vm)
CONCIERGE_HANDLER(cancel_disk_image_operation)
CONCIERGE_HANDLER(create_disk_image)
CONCIERGE_HANDLER(destroy_disk_image)
CONCIERGE_HANDLER(disk_image_status)
CONCIERGE_HANDLER(export_disk_image)
CONCIERGE_HANDLER(attach_disk)
CONCIERGE_HANDLER(attach_net_device)
CONCIERGE_HANDLER(attach_usb_device)
CONCIERGE_HANDLER(detach_disk)
CONCIERGE_HANDLER(detach_net_device)
CONCIERGE_HANDLER(detach_usb_device)
CONCIERGE_HANDLER(list_usb_devices)
CONCIERGE_HANDLER(get_balloon_info)
CONCIERGE_HANDLER(get_dns_settings)
CONCIERGE_HANDLER(get_vm_info)
CONCIERGE_HANDLER(get_vm_launch_allowed)
CONCIERGE_HANDLER(get_vm_logs)
CONCIERGE_HANDLER(import_disk_image)
CONCIERGE_HANDLER(install_pflash)
CONCIERGE_HANDLER(list_vm_disks)
CONCIERGE_HANDLER(list_vms)
CONCIERGE_HANDLER(resize_disk_image)
CONCIERGE_HANDLER(resume_vm)
CONCIERGE_HANDLER(reclaim_vm_memory)
CONCIERGE_HANDLER(set_balloon_timer)
CONCIERGE_HANDLER(set_vm_cpu_restriction)
CONCIERGE_HANDLER(get_vm_enterprise_reporting_info)
CONCIERGE_HANDLER(set_up_vm_user)
CONCIERGE_HANDLER(start_vm)
CONCIERGE_HANDLER(create_snapshot)
CONCIERGE_HANDLER(delete_snapshot)
CONCIERGE_HANDLER(list_snapshots)
CONCIERGE_HANDLER(restore_snapshot)
CONCIERGE_HANDLER(stop_all_vms)
CONCIERGE_HANDLER(stop_vm)
CONCIERGE_HANDLER(stop_vm_without_owner_id)
CONCIERGE_HANDLER(suspend_vm)
CONCIERGE_HANDLER(sync_vm_times)
CONCIERGE_HANDLER(wait_vm)
#undef CONCIERGE_HANDLER
