/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/call.c - calls whose reply only says whether they worked. */
#include <errno.h>

#include "concierge_service.pb-c.h"

#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"

#define TEXT_MAX 512

typedef VmTools__Concierge__SuccessFailureResponse pb_response;

int
vmc_call_plain(struct vmc *vmc, const char *method,
               const struct ProtobufCMessage *request, unsigned timeout_ms,
               struct vmt_err *err)
{
    const struct concierge_call call = {
        .method = method,
        .request = request,
        .reply = &vm_tools__concierge__success_failure_response__descriptor,
        .timeout_ms = timeout_ms,
    };
    struct ProtobufCMessage *reply = NULL;
    const pb_response *response;
    char text[TEXT_MAX];
    int r = vmc_call(vmc, &call, &reply, err);

    if (r < 0)
        return r;
    response = (const pb_response *)(const void *)reply;
    if (!response->success)
        r = vmt_err_setx(err, EIO, "%s",
                         vmc_escape(text, sizeof(text), response->failure_reason));
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}
