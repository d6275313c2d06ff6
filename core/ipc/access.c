/* SPDX-License-Identifier: BSD-3-Clause */
/* core/ipc/access.c - who may call what. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/adapter/clock.h"
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
ipc_is_service(const struct ipc *ipc, uint32_t uid)
{
    if (uid == 0 || uid == ipc->self.uid)
        return true;
    for (size_t i = 0; i < ipc->self.nservices; i++)
        if (ipc->self.services[i] == uid)
            return true;
    return false;
}

bool
ipc_may_hear(const struct ipc *ipc, uint32_t uid, const struct ProtobufCMessage *message)
{
    const char *owner = ipc_owner_of(message);

    return !*owner || ipc_is_service(ipc, uid) || ipc_is_owner(uid, owner);
}

/* How a caller may do what it asks. */
enum ipc_verdict {
    IPC_REFUSED = 0,
    IPC_ALLOWED,      /* as anybody in its place */
    IPC_BY_PRIVILEGE, /* because of what it is: that is worth a line in the log */
};

static enum ipc_verdict
ipc_access_judge(const struct ipc *ipc, const struct ipc_call *call)
{
    uint32_t uid = call->caller.uid;
    bool privileged = call->caller.privileged;

    switch (call->method->access) {
    case IPC_ACCESS_ANY:
        return IPC_ALLOWED;
    case IPC_ACCESS_OWNER:
        if (ipc_is_owner(uid, ipc_owner_of(call->request)))
            return IPC_ALLOWED;
        break;
    case IPC_ACCESS_SERVICE:
        break;
    case IPC_ACCESS_ROOT:
        privileged = uid == 0 || (!ipc->self.system && uid == ipc->self.uid);
        break;
    }
    return privileged ? IPC_BY_PRIVILEGE : IPC_REFUSED;
}

static void
ipc_refusals_refill(struct ipc_refusals *r, uint64_t now_ms)
{
    uint64_t n = (now_ms - r->refilled_ms) / IPC_REFUSAL_REFILL_MS;

    if (n >= r->rows) {
        r->rows = 0;
        r->refilled_ms = now_ms;
    } else {
        r->rows -= (uint32_t)n;
        r->refilled_ms += n * IPC_REFUSAL_REFILL_MS;
    }
}

/* Count one more; whether it is the 1st, 2nd, 4th, 8th ... of its row. */
static bool
ipc_refusals_count(struct ipc *ipc, struct ipc_refusals *r, uint32_t uid)
{
    struct vmt_clock *clock = ipc->self.clock;
    uint64_t now_ms = clock ? clock->ops->now_ms(clock) : 0;
    bool new_row =
        r->count == 0 || r->uid != uid || now_ms - r->last_ms >= IPC_REFUSAL_QUIET_MS;

    ipc_refusals_refill(r, now_ms);
    r->last_ms = now_ms;
    if (new_row && r->rows < IPC_REFUSAL_ROWS_MAX) {
        r->uid = uid;
        r->count = 0;
        r->rows++;
    }
    if (r->count < UINT32_MAX) /* which is no power of two: nothing more is logged */
        r->count++;
    return (r->count & (r->count - 1)) == 0;
}

/* The audit line of a refusal. A row of refusals of one uid is logged at its 1st, 2nd,
 * 4th, 8th ... */
static void
ipc_access_log_refusal(struct ipc *ipc, const struct ipc_call *call)
{
    struct ipc_refusals *r = &ipc->refusals[call->method - ipc->service->methods];
    const char *owner = ipc_owner_of(call->request);
    char text[IPC_OWNER_LOG_MAX];

    if (!ipc_refusals_count(ipc, r, call->caller.uid))
        return;
    vmt_log_warning("call refused: method=%s needs=%s uid=%" PRIu32 " pid=%" PRId32
                    " owner=%s times=%" PRIu32,
                    call->method->name, ipc_access_names[call->method->access],
                    call->caller.uid, call->caller.pid,
                    vmt_log_escape(text, sizeof(text), owner, strlen(owner)), r->count);
}

void
ipc_log_bad(struct ipc *ipc, const struct ipc_incoming *in, const char *why)
{
    struct ipc_refusals *r = &ipc->bad[in->method - ipc->service->methods];

    if (ipc_refusals_count(ipc, r, in->caller.uid))
        vmt_log_warning("bad request: %s method=%s uid=%" PRIu32 " pid=%" PRId32
                        " times=%" PRIu32,
                        why, in->method->name, in->caller.uid, in->caller.pid, r->count);
}

/* The audit line of what was done by privilege. In user mode there is nobody else. */
static void
ipc_access_log_privilege(const struct ipc *ipc, const struct ipc_call *call)
{
    const char *owner = ipc_owner_of(call->request);
    char text[IPC_OWNER_LOG_MAX];

    if (!ipc->self.system && call->caller.uid == ipc->self.uid)
        return;
    vmt_log_info(
        "call by privilege: method=%s needs=%s uid=%" PRIu32 " pid=%" PRId32 " owner=%s",
        call->method->name, ipc_access_names[call->method->access], call->caller.uid,
        call->caller.pid, vmt_log_escape(text, sizeof(text), owner, strlen(owner)));
}

bool
ipc_access_check(struct ipc *ipc, const struct ipc_call *call)
{
    enum ipc_verdict verdict = ipc_access_judge(ipc, call);

    if (verdict == IPC_REFUSED)
        ipc_access_log_refusal(ipc, call);
    if (verdict == IPC_BY_PRIVILEGE)
        ipc_access_log_privilege(ipc, call);
    return verdict != IPC_REFUSED;
}
