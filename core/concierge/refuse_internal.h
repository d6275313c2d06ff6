/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/refuse_internal.h - methods that exist on the bus and say why they do
 * nothing. */
#pragma once

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct ipc_call;

/* Answer call with a message of type reply that says no: success stays false, a status
 * becomes its FAILURE or FAILED value, failure_reason or reason becomes why. A type with
 * none of them gets the error Failed instead. why is borrowed for the call. */
void concierge_refuse(struct ipc_call *call,
                      const struct ProtobufCMessageDescriptor *reply, const char *why);

/* One handler per method that is refused: the name of the method in lower case. */
#define CONCIERGE_REFUSED(name)                                                          \
    void concierge_refuse_##name(void *ctx, struct ipc_call *call,                       \
                                 const struct ProtobufCMessage *request);
CONCIERGE_REFUSED(add_group_permission_mesa)
CONCIERGE_REFUSED(aggressive_balloon)
CONCIERGE_REFUSED(arc_vm_complete_boot)
CONCIERGE_REFUSED(attach_key)
CONCIERGE_REFUSED(get_baguette_image_url)
CONCIERGE_REFUSED(get_vm_gpu_cache_path)
CONCIERGE_REFUSED(get_vm_memory_management_kills_connection)
CONCIERGE_REFUSED(modify_fake_power_config)
CONCIERGE_REFUSED(mute_vm_audio)
CONCIERGE_REFUSED(set_crostini_vm_type)
CONCIERGE_REFUSED(start_arc_vm)
CONCIERGE_REFUSED(start_plugin_vm)
CONCIERGE_REFUSED(swap_vm)
#undef CONCIERGE_REFUSED
