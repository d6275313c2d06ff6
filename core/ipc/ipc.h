/* SPDX-License-Identifier: BSD-3-Clause */
/* core/ipc/ipc.h - one method table behind every IPC backend: parse, check access,
 * dispatch. */
#pragma once

#include "core/adapter/ipc.h"

struct ipc;
struct ipc_request;
struct vmt_clock;

/* What the daemon is, for access checks. */
struct ipc_identity {
    uint32_t uid; /* of the daemon */
    /* It serves all users of the host: being its user is not enough for what needs root.
     * In user mode that one user owns all there is. */
    bool system;
    /* Under which uids the other daemons of the set run; borrowed for the life of ipc. */
    const uint32_t *services;
    size_t nservices;
    /* Borrowed for the life of ipc; NULL: time stands still, so that of refusals without
     * end only the first are logged. */
    struct vmt_clock *clock;
};

/* Serve service; ctx goes to its handlers. Both are borrowed for the life of ipc. Returns
 * 0, -ENOMEM, or -EINVAL for a method with IPC_ACCESS_OWNER whose request has no owner_id
 * and no cryptohome_id. */
int ipc_new(const struct ipc_service *service, void *ctx, const struct ipc_identity *self,
            struct ipc **ret_ipc, struct vmt_err *err);
/* Frees the servers that were added, too. Clients whose calls are unanswered are told
 * that the daemon is shutting down; the call objects live on until their handlers answer,
 * which then goes nowhere. NULL is legal. */
void ipc_free(struct ipc *ipc);

/* ipc owns server from now on. Returns 0 or -ENOMEM, then server is still the caller's.
 */
int ipc_add_server(struct ipc *ipc, struct ipc_server *server, struct vmt_err *err);

/* Serialize message once and emit it on every server. Returns 0, -ENOMEM, or -ENOENT for
 * a name that the service does not have, or has with another message type. */
int ipc_emit(struct ipc *ipc, const char *signal, const struct ProtobufCMessage *message);

/* A daemon of the set, or root: whom no limit for users holds back. */
bool ipc_is_service(const struct ipc *ipc, uint32_t uid);

/* For backends that know their subscribers: whether uid may hear a signal. One that names
 * an owner concerns that owner, the daemons of the set and root; any other everybody. */
bool ipc_may_hear(const struct ipc *ipc, uint32_t uid,
                  const struct ProtobufCMessage *message);

const struct ipc_service *ipc_service(const struct ipc *ipc);

/* What a daemon says about itself to everybody. */
struct ipc_properties {
    const char *version;
    /* "hypervisor:qemu", "method:StartVm"; borrowed for the life of ipc. */
    const char *const *capabilities;
    size_t ncapabilities;
};
/* The version is that of the project, there are no capabilities until they are set. */
const struct ipc_properties *ipc_properties(const struct ipc *ipc);
void ipc_set_capabilities(struct ipc *ipc, const char *const *capabilities, size_t n);

/* The owner id that stands for a uid: hex of "uid:<decimal>", so that it fits
 * [0-9A-Fa-f]+ and can be read back. buf has room for IPC_OWNER_MAX bytes. */
#define IPC_OWNER_MAX 32
void ipc_owner_for_uid(uint32_t uid, char *buf);

/* For handlers. */
const struct ipc_caller *ipc_call_caller(const struct ipc_call *call);
size_t ipc_call_take_fds(struct ipc_call *call, int *fds, size_t max);
/* Be told when the client is gone or gave the call up, so that work for nobody can stop:
 * fn runs at most once, from the loop, never after the answer and not for the daemon's
 * own end. The handler answers as always, into nothing, perhaps from inside fn. Without
 * it a call runs on. arg is borrowed until the answer. */
void ipc_call_on_cancel(struct ipc_call *call, void (*fn)(void *arg), void *arg);
/* Answer; the call is gone afterwards. message is NULL for methods without a result; the
 * descriptors are duplicated. Asserts that message and descriptors are what the method's
 * table row says. */
void ipc_call_reply(struct ipc_call *call, const struct ProtobufCMessage *message,
                    const int *fds, size_t nfds);
void ipc_call_fail(struct ipc_call *call, enum ipc_error code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* For backends: one incoming call. Everything is borrowed for ipc_dispatch but fds, which
 * are owned by the call from then on, also on failure. */
struct ipc_incoming {
    const struct ipc_method *method;
    struct ipc_caller caller;
    const uint8_t *bytes; /* serialized request; NULL when there was no argument */
    size_t len;
    const int *fds;
    size_t nfds;
    void *token; /* the backend's name for the call, given back to answer */
};
/* How a backend sends the answer. Runs exactly once per dispatched call, perhaps from
 * inside ipc_dispatch, unless the backend cancels the call before. bytes is NULL for a
 * method without a result. */
struct ipc_answer_ops {
    void (*reply)(void *token, const uint8_t *bytes, size_t len, const int *fds,
                  size_t nfds);
    void (*fail)(void *token, enum ipc_error code, const char *text);
};
void ipc_dispatch(struct ipc *ipc, const struct ipc_incoming *in,
                  const struct ipc_answer_ops *answer);
/* For what a backend refuses by itself with IPC_ERROR_INVALID_ARGS: log that in is no
 * request of its method, and why, but not each time. Of in it reads method and caller;
 * dispatched calls are logged without it. */
void ipc_log_bad(struct ipc *ipc, const struct ipc_incoming *in, const char *why);
/* The client of the call with this token is gone or does not want the answer any more:
 * token is the backend's again, no answer comes. Descriptors that no handler took are
 * closed. Nothing happens for a token without a call. */
void ipc_cancel(struct ipc *ipc, void *token);
/* Look a method up by name; NULL if the service has none. */
const struct ipc_method *ipc_find_method(const struct ipc *ipc, const char *name);
