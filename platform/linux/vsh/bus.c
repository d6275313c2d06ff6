/* SPDX-License-Identifier: BSD-3-Clause */
/* Source: platform2 3050786c, vm_tools/vsh/vsh.cc, GetCid: GetVmInfo over the system bus,
 * with a deadline of 30 s. */
#include "platform/linux/vsh/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/ipc/ipc.h"
#include "platform/linux/dbus/dbus_call.h"
#include "platform/linux/vsh/concierge_client.h"

#define TIMEOUT_MS 30000

static int
bus_call(const struct ProtobufCMessage *request, uint8_t **ret_reply, size_t *ret_len,
         struct vmt_err *err)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len + 1);
    const struct dbus_client_call call = {
        .bus = "system",
        .name = "org.chromium.VmConcierge",
        .path = "/org/chromium/VmConcierge",
        .interface = "org.chromium.VmConcierge",
        .method = "GetVmInfo",
        .request = bytes,
        .len = len,
        .timeout_ms = TIMEOUT_MS,
    };

    if (!bytes)
        return vmt_err_set(err, ENOMEM, "call GetVmInfo");
    protobuf_c_message_pack(request, bytes);
    return dbus_call_wait(&call, ret_reply, ret_len, err);
}

int
vsh_bus_vm(const char *vm_name, const char *owner, struct concierge_vm *ret_vm,
           struct vmt_err *err)
{
    VmTools__Concierge__GetVmInfoRequest request;
    VmTools__Concierge__GetVmInfoResponse *response;
    VMT_CLEANUP(vmt_freep) uint8_t *reply = NULL;
    char self[IPC_OWNER_MAX];
    size_t len = 0;
    int r;

    ipc_owner_for_uid(getuid(), self);
    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)vm_name;
    request.owner_id = owner ? (char *)(uintptr_t)owner : self;
    r = bus_call(&request.base, &reply, &len, err);
    if (r < 0)
        return r;
    response = vm_tools__concierge__get_vm_info_response__unpack(NULL, len, reply);
    if (!response)
        return vmt_err_setx(err, EIO, "the answer of GetVmInfo cannot be read");
    r = concierge_vm_fill(response, ret_vm, err);
    protobuf_c_message_free_unpacked(&response->base, NULL);
    return r;
}
