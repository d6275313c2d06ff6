/* SPDX-License-Identifier: BSD-3-Clause */
/* core/ipc/access.c - who may call what. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/log.h"
#include "core/base/str.h"
#include "core/ipc/ipc_internal.h"

#define IPC_OWNER_LOG_MAX 80

/* The messages of the original name the owner either way.
 * Source: tests/data/wire/concierge_service.txt. */
static const char *const ipc_owner_names[] = {"owner_id", "cryptohome_id"};

static const char *const ipc_access_names[] = {
    [IPC_ACCESS_ANY] = "any",
    [IPC_ACCESS_OWNER] = "owner",
    [IPC_ACCESS_SERVICE] = "service",
    [IPC_ACCESS_ROOT] = "root",
};

void
ipc_owner_for_uid(uint32_t uid, char *buf)
{
    char text[IPC_OWNER_MAX / 2];
    int n = snprintf(text, sizeof(text), "uid:%" PRIu32, uid);

    vmt_hex_encode(buf, (const uint8_t *)text, (size_t)n);
}

const struct ProtobufCFieldDescriptor *
ipc_owner_field(const struct ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; type && i < VMT_ARRAY_SIZE(ipc_owner_names); i++) {
        const struct ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(type, ipc_owner_names[i]);

        if (f && f->type == PROTOBUF_C_TYPE_STRING &&
            f->label != PROTOBUF_C_LABEL_REPEATED)
            return f;
    }
    return NULL;
}

/* The owner that a request names, "" when it names none. Points into the request. */
static const char *
ipc_owner_of(const struct ProtobufCMessage *request)
{
    const struct ProtobufCFieldDescriptor *f =
        request ? ipc_owner_field(request->descriptor) : NULL;
    const char *owner;

    if (!f)
        return "";
    memcpy(&owner, (const uint8_t *)request + f->offset, sizeof(owner));
    return owner ? owner : "";
}

static bool
ipc_is_owner(uint32_t uid, const char *owner)
{
    char own[IPC_OWNER_MAX];

    ipc_owner_for_uid(uid, own);
    return strcmp(own, owner) == 0;
}

bool
ipc_may_hear(const struct ipc *ipc, uint32_t uid, const struct ProtobufCMessage *message)
{
    const char *owner = ipc_owner_of(message);

    return !*owner || uid == 0 || uid == ipc->self.uid || ipc_is_owner(uid, owner);
}

static bool
ipc_access_allowed(const struct ipc_call *call)
{
    if (call->caller.privileged)
        return true; /* no access class keeps these two out */
    if (call->method->access == IPC_ACCESS_ANY)
        return true;
    if (call->method->access != IPC_ACCESS_OWNER)
        return false;
    return ipc_is_owner(call->caller.uid, ipc_owner_of(call->request));
}

static void
ipc_refusals_count(struct ipc_refusals *r, uint32_t uid)
{
    if (r->uid != uid && r->rows < IPC_REFUSAL_ROWS_MAX) {
        r->count = 0;
        r->rows++;
    }
    r->uid = uid;
    if (r->count < UINT32_MAX) /* which is no power of two: nothing more is logged */
        r->count++;
}

/* The audit line. A row of refusals of one uid is logged at its 1st, 2nd, 4th, 8th ... */
static void
ipc_access_log(struct ipc *ipc, const struct ipc_call *call)
{
    struct ipc_refusals *r = &ipc->refusals[call->method - ipc->service->methods];
    const char *owner = ipc_owner_of(call->request);
    char text[IPC_OWNER_LOG_MAX];

    ipc_refusals_count(r, call->caller.uid);
    if ((r->count & (r->count - 1)) != 0)
        return;
    vmt_log_warning("call refused: method=%s needs=%s uid=%" PRIu32 " pid=%" PRId32
                    " owner=%s times=%" PRIu32,
                    call->method->name, ipc_access_names[call->method->access],
                    call->caller.uid, call->caller.pid,
                    vmt_log_escape(text, sizeof(text), owner, strlen(owner)), r->count);
}

bool
ipc_access_check(struct ipc *ipc, const struct ipc_call *call)
{
    if (ipc_access_allowed(call))
        return true;
    ipc_access_log(ipc, call);
    return false;
}
