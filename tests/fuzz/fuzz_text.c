/* SPDX-License-Identifier: BSD-3-Clause */
/* Startup jobs and profiles come with an image that somebody else made. The first byte
 * says which message the rest is; what was read must pack and unpack again. */
#include <stdlib.h>

#include <concierge_service.pb-c.h>
#include <vm_guest.pb-c.h>

#include "core/text/text.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &vm_tools__launch_process_request__descriptor,
        &vm_tools__concierge__start_vm_request__descriptor,
        &vm_tools__network_config_request__descriptor,
        &vm_tools__set_time_request__descriptor,
    };
    ProtobufCMessage *message, *again;
    uint8_t *packed;
    size_t len;

    if (size == 0)
        return 0;
    if (text_parse(types[data[0] % 4], (const char *)data + 1, size - 1, &message, NULL) <
        0)
        return 0;
    len = protobuf_c_message_get_packed_size(message);
    packed = malloc(len + 1);
    if (!packed || protobuf_c_message_pack(message, packed) != len)
        abort();
    again = protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
    if (!again)
        abort();
    protobuf_c_message_free_unpacked(again, NULL);
    protobuf_c_message_free_unpacked(message, NULL);
    free(packed);
    return 0;
}
