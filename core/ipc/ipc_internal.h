/* SPDX-License-Identifier: BSD-3-Clause */
/* core/ipc/ipc_internal.h - what the files of this room share. */
#pragma once

#include "core/base/limits.h"
#include "core/base/list.h"
#include "core/ipc/ipc.h"

/* Refused calls of one method, so that a client that keeps trying cannot fill the log. */
struct ipc_refusals {
    uint32_t uid;         /* whose row it is */
    uint32_t count;       /* refused calls in the row */
    uint32_t rows;        /* that began and have not come back; see there */
    uint64_t last_ms;     /* when the row grew */
    uint64_t refilled_ms; /* up to when rows came back */
};

/* So often a new row may begin: with another uid, or after a quiet minute. From then on
 * the row goes on whoever calls, because one person may own many uids (subuid(5)). One
 * comes back each ten seconds, so that nobody can use them up for good: a log that is
 * under attack all day long grows by six lines a minute for the method. */
#define IPC_REFUSAL_ROWS_MAX 64u
#define IPC_REFUSAL_REFILL_MS 10000u
#define IPC_REFUSAL_QUIET_MS 60000u

/* Memory that one parsed request may take. Two bytes on the wire can become a node of
 * some forty in memory, so that the length alone bounds nothing useful. */
#define IPC_REQUEST_MEMORY_MAX (32u * 1024 * 1024)

/* Calls of one uid that wait for their answers, and what they hold: memory for one
 * request of any size and for many of a usual one, and descriptors for as many calls with
 * one each, or for few with all they may have. A call that its client gave up counts
 * until its handler is done with it. */
#define IPC_CALLS_PER_UID_MAX 256u
#define IPC_FDS_PER_UID_MAX 256u
#define IPC_MEMORY_PER_UID_MAX IPC_REQUEST_MEMORY_MAX

struct ipc {
    const struct ipc_service *service; /* borrowed */
    void *ctx;                         /* borrowed */
    struct ipc_identity self;
    struct ipc_properties properties;
    struct ipc_server **servers; /* owned, nservers of them */
    size_t nservers;
    struct ipc_refusals *refusals; /* owned, one per method of the service */
    struct ipc_refusals *bad;      /* owned, likewise: requests that are none */
    struct vmt_list calls;         /* dispatched and not answered yet */
};

struct ipc_call {
    struct vmt_list node; /* in ipc->calls; out of it once the client has its answer */
    const struct ipc_method *method;
    struct ipc_caller caller;
    struct ProtobufCMessage *request; /* owned; NULL: no argument */
    size_t budget;                    /* bytes that parsing may still take */
    bool starved;                     /* the daemon had no memory for it */
    int fds[VMT_FDS_MAX];             /* owned, -1 when taken */
    size_t nfds;
    void *token;                         /* the backend's */
    const struct ipc_answer_ops *answer; /* borrowed; NULL: nobody waits any more */
    void (*on_cancel)(void *arg);        /* NULL: none */
    void *cancel_arg;                    /* borrowed */
};

/* Take in->fds over (all of them, also on failure) and parse the request. Returns 0 and a
 * call, or the error to answer with and its words in text. */
enum ipc_error ipc_call_new(const struct ipc_incoming *in, struct ipc_call **ret_call,
                            const char **ret_text);

/* Tell the client, if it still waits, that the call failed; the call lives on. */
void ipc_call_detach(struct ipc_call *call, enum ipc_error code, const char *text);

/* The same without an answer, because the client is gone. The call counts as one of its
 * caller's until its handler is done with it. */
void ipc_call_abandon(struct ipc_call *call);

/* Whether the caller may do what the request asks. Logged are refusals, and what is done
 * by privilege: a method that is not for users, or somebody else's property. */
bool ipc_access_check(struct ipc *ipc, const struct ipc_call *call);

/* The string member that names the owner in messages of this type; NULL if there is none.
 */
const struct ProtobufCFieldDescriptor *
ipc_owner_field(const struct ProtobufCMessageDescriptor *type);
