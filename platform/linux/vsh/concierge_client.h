/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/concierge_client.h - call vm_concierge and wait: for tools that do
 * one thing after the other. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/linux/vsh/endpoint.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct concierge_client;
struct os_loop;
struct vmt_err;

/* Connect to the daemon's unix socket. Returns 0, -ENOENT or -ECONNREFUSED when no daemon
 * listens there, -ENOMEM. loop is borrowed for the life of the client. */
int concierge_client_new(struct os_loop *loop, const char *socket_path,
                         struct concierge_client **ret_client, struct vmt_err *err);
void concierge_client_free(struct concierge_client *client); /* NULL is legal */

/* All borrowed for the call. */
struct concierge_call {
    const char *method;
    const struct ProtobufCMessage *request;         /* NULL: no argument */
    const struct ProtobufCMessageDescriptor *reply; /* NULL: no result */
    const int *fds;
    size_t nfds;
    uint32_t timeout_ms;
    uint32_t reply_max; /* bytes of the answer; 0: VMT_RPC_MESSAGE_MAX */
};

/* Call and run the loop until the answer is there. *ret_reply is owned by the caller
 * (protobuf_c_message_free_unpacked); it is NULL for a method without result. Returns 0,
 * -ENOTCONN when the daemon went away, -ETIMEDOUT, -EACCES, -EINVAL, -EINTR when
 * concierge_client_interrupt was called meanwhile, -EIO for other refusals. */
int concierge_client_call(struct concierge_client *client,
                          const struct concierge_call *call,
                          struct ProtobufCMessage **ret_reply, struct vmt_err *err);

/* Make the call that is being waited for return. For handlers of signals of the loop. */
void concierge_client_interrupt(struct concierge_client *client);

/* Get the daemon's signals while calls wait: fn is called with the name of each and its
 * serialized message, both borrowed for the call, and borrows arg until unwatch. No more
 * come after a daemon went away. One watch a client. Returns 0, -EBUSY, -ENOMEM. */
typedef void concierge_signal_fn(void *arg, const char *name, const uint8_t *bytes,
                                 size_t len);
int concierge_client_watch(struct concierge_client *client, concierge_signal_fn *fn,
                           void *arg, struct vmt_err *err);
void concierge_client_unwatch(struct concierge_client *client); /* NULL is legal */

/* What the daemon knows of a VM. */
#define CONCIERGE_WORDS_MAX 512
struct concierge_vm {
    bool runs;
    bool is_suspended;             /* it runs, but nobody there would answer */
    struct vsh_endpoint endpoint;  /* of its vshd, while it runs */
    char end[CONCIERGE_WORDS_MAX]; /* else how it ended, "" if nobody knows */
    int64_t ended_s;               /* when, in seconds since 1970; 0: nobody knows */
};
/* Ask. owner NULL: that of our uid. Returns as concierge_client_call; -EINVAL when the
 * daemon names a transport that we do not know. */
int concierge_client_vm(struct concierge_client *client, const char *vm_name,
                        const char *owner, struct concierge_vm *ret_vm,
                        struct vmt_err *err);

/* Ask, without waiting: fn runs once, from the loop, unless the client is freed before;
 * vm is NULL when there was no answer, and borrowed for the call otherwise. One at a
 * time. Not to be mixed with calls that wait. Returns 0, -ENOMEM, -ENOBUFS. */
typedef void concierge_vm_fn(void *arg, const struct concierge_vm *vm);
int concierge_client_ask_vm(struct concierge_client *client, const char *vm_name,
                            const char *owner, concierge_vm_fn *fn, void *arg,
                            struct vmt_err *err);

/* Take an answer apart, however it came. Returns 0 or -EINVAL as above. */
typedef struct VmTools__Concierge__GetVmInfoResponse
    VmTools__Concierge__GetVmInfoResponse;
int concierge_vm_fill(const VmTools__Concierge__GetVmInfoResponse *response,
                      struct concierge_vm *ret_vm, struct vmt_err *err);

/* Where its vshd is. Returns 0, -ENOENT when it does not run, -EBUSY when it is
 * suspended. */
int concierge_vm_endpoint(const struct concierge_vm *vm, const char *vm_name,
                          struct vsh_endpoint *ret_endpoint, struct vmt_err *err);

/* Ask, and tell where it is. Returns as concierge_client_vm and concierge_vm_endpoint. */
int concierge_client_endpoint(struct concierge_client *client, const char *vm_name,
                              const char *owner, struct vsh_endpoint *ret_endpoint,
                              struct vmt_err *err);
