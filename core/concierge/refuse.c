/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/refuse_internal.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"

#define ONLY_CHROMEOS "this method has a meaning on ChromiumOS only"
#define NO_GPU "VMs have no GPU here"
#define NO_KEYS                                                                          \
    "security keys are not passed by their hidraw node here; attach the key as a USB "   \
    "device"
#define NO_AUDIO "VMs have no sound device here"
#define NO_BATTERY "VMs have no battery here"

static void
set_text(ProtobufCMessage *message, const char *field, const char *why)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, field);
    const char **at;

    if (!f || f->type != PROTOBUF_C_TYPE_STRING || f->label == PROTOBUF_C_LABEL_REPEATED)
        return;
    at = (const char **)(void *)((uint8_t *)message + f->offset);
    *at = why;
}

/* The value that means failure in the two enums that a status may have. */
static void
set_status(ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
    const ProtobufCEnumDescriptor *type = f->descriptor;
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value_by_name(type, "VM_STATUS_FAILURE");

    if (!v)
        v = protobuf_c_enum_descriptor_get_value_by_name(type, "DISK_STATUS_FAILED");
    if (v)
        *(int *)(void *)((uint8_t *)message + f->offset) = v->value;
}

void
concierge_refuse(struct ipc_call *call, const ProtobufCMessageDescriptor *reply,
                 const char *why)
{
    VMT_CLEANUP(vmt_freep) ProtobufCMessage *message = NULL;
    const ProtobufCFieldDescriptor *success, *status;

    if (reply)
        message = calloc(1, reply->sizeof_message);
    if (!message) {
        ipc_call_fail(call, IPC_ERROR_FAILED, "%s", why);
        return;
    }
    reply->message_init(message);
    success = protobuf_c_message_descriptor_get_field_by_name(reply, "success");
    status = protobuf_c_message_descriptor_get_field_by_name(reply, "status");
    if (!success && !status) {
        ipc_call_fail(call, IPC_ERROR_FAILED, "%s", why);
        return;
    }
    if (status)
        set_status(message, status);
    set_text(message, "failure_reason", why);
    set_text(message, "reason", why);
    ipc_call_reply(call, message, NULL, 0);
}

#define M(type) (&vm_tools__concierge__##type##__descriptor)
#define EMPTY (&vm_tools__empty_message__descriptor)
#define REFUSE(name, reply, why)                                                         \
    void concierge_refuse_##name(void *ctx, struct ipc_call *call,                       \
                                 const ProtobufCMessage *request)                        \
    {                                                                                    \
        (void)ctx;                                                                       \
        (void)request;                                                                   \
        concierge_refuse(call, reply, why);                                              \
    }

REFUSE(add_group_permission_mesa, NULL, NO_GPU)
REFUSE(aggressive_balloon, M(success_failure_response), ONLY_CHROMEOS)
REFUSE(arc_vm_complete_boot, EMPTY, ONLY_CHROMEOS)
REFUSE(attach_key, M(attach_key_response), NO_KEYS)
REFUSE(get_baguette_image_url, M(get_baguette_image_url_response), ONLY_CHROMEOS)
REFUSE(get_vm_gpu_cache_path, M(get_vm_gpu_cache_path_response), NO_GPU)
REFUSE(get_vm_memory_management_kills_connection,
       M(get_vm_memory_management_kills_connection_response), ONLY_CHROMEOS)
REFUSE(modify_fake_power_config, M(success_failure_response), NO_BATTERY)
REFUSE(mute_vm_audio, M(success_failure_response), NO_AUDIO)
REFUSE(set_crostini_vm_type, M(set_crostini_vm_type_response), ONLY_CHROMEOS)
REFUSE(start_arc_vm, M(start_vm_response), ONLY_CHROMEOS)
REFUSE(start_plugin_vm, M(start_vm_response), ONLY_CHROMEOS)
REFUSE(swap_vm, M(success_failure_response), ONLY_CHROMEOS)
