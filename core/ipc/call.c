/* SPDX-License-Identifier: BSD-3-Clause */
/* core/ipc/call.c - one call, from its bytes to its only answer. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/cleanup.h"
#include "core/ipc/ipc_internal.h"

#define IPC_FAIL_TEXT_MAX 512

/* For messages, with the call as allocator_data. */
static void *
ipc_call_alloc(void *data, size_t size)
{
    struct ipc_call *call = data;
    void *p;

    if (size > call->budget)
        return NULL;
    call->budget -= size;
    p = malloc(size);
    call->starved = call->starved || !p;
    return p;
}

static void
ipc_call_release(void *data, void *p)
{
    (void)data;
    free(p);
}

static ProtobufCAllocator
ipc_call_allocator(struct ipc_call *call)
{
    return (ProtobufCAllocator){
        .alloc = ipc_call_alloc, .free = ipc_call_release, .allocator_data = call};
}

static void
ipc_call_free(struct ipc_call *call)
{
    if (!call)
        return;
    vmt_list_remove(&call->node);
    for (size_t i = 0; i < call->nfds; i++)
        vmt_closep(&call->fds[i]);
    if (call->request) {
        ProtobufCAllocator a = ipc_call_allocator(call);

        protobuf_c_message_free_unpacked(call->request, &a);
    }
    free(call);
}

VMT_DEFINE_FREEP(struct ipc_call, ipc_call_free)

static bool
ipc_fds_fit(enum ipc_fds want, size_t n)
{
    if (want == IPC_FDS_NONE)
        return n == 0;
    if (want == IPC_FDS_ONE)
        return n == 1;
    return n <= VMT_FDS_MAX;
}

static void
ipc_close_all(const int *fds, size_t nfds)
{
    for (size_t i = 0; i < nfds; i++) {
        int fd = fds[i];

        vmt_closep(&fd);
    }
}

static enum ipc_error
ipc_call_parse(struct ipc_call *call, const struct ipc_incoming *in,
               const char **ret_text)
{
    static const uint8_t none[1];
    ProtobufCAllocator a = ipc_call_allocator(call);

    if (!ipc_fds_fit(in->method->fds_in, in->nfds)) {
        *ret_text = "wrong number of file descriptors";
        return IPC_ERROR_INVALID_ARGS;
    }
    if (!in->method->request) {
        if (in->len == 0)
            return 0;
        *ret_text = "the method takes no argument";
        return IPC_ERROR_INVALID_ARGS;
    }
    call->request = protobuf_c_message_unpack(in->method->request, &a, in->len,
                                              in->bytes ? in->bytes : none);
    if (call->request)
        return 0;
    if (call->starved) {
        *ret_text = "out of memory";
        return IPC_ERROR_NO_MEMORY;
    }
    /* A request that ran out of its budget has no business being so intricate. */
    *ret_text = "the request does not parse as its message type";
    return IPC_ERROR_INVALID_ARGS;
}

enum ipc_error
ipc_call_new(const struct ipc_incoming *in, struct ipc_call **ret_call,
             const char **ret_text)
{
    VMT_CLEANUP(ipc_call_freep) struct ipc_call *call = NULL;
    enum ipc_error e;

    if (in->nfds > VMT_FDS_MAX) {
        ipc_close_all(in->fds, in->nfds);
        *ret_text = "too many file descriptors";
        return IPC_ERROR_INVALID_ARGS;
    }
    call = calloc(1, sizeof(*call));
    if (!call) {
        ipc_close_all(in->fds, in->nfds);
        *ret_text = "out of memory";
        return IPC_ERROR_NO_MEMORY;
    }
    call->budget = IPC_REQUEST_MEMORY_MAX;
    call->method = in->method;
    call->caller = in->caller;
    call->token = in->token;
    call->nfds = in->nfds;
    for (size_t i = 0; i < in->nfds; i++)
        call->fds[i] = in->fds[i];
    e = ipc_call_parse(call, in, ret_text);
    if (e)
        return e;
    *ret_call = vmt_take_ptr(&call);
    return 0;
}

void
ipc_call_detach(struct ipc_call *call, enum ipc_error code, const char *text)
{
    const struct ipc_answer_ops *answer = call->answer;

    vmt_list_remove(&call->node);
    call->answer = NULL;
    if (answer)
        answer->fail(call->token, code, text);
}

void
ipc_call_abandon(struct ipc_call *call)
{
    void (*on_cancel)(void *arg) = call->on_cancel;

    call->answer = NULL;
    call->token = NULL;
    call->on_cancel = NULL;
    for (size_t i = 0; i < call->nfds; i++)
        vmt_closep(&call->fds[i]);
    if (on_cancel)
        on_cancel(call->cancel_arg); /* which may answer: the call may be gone */
}

void
ipc_call_on_cancel(struct ipc_call *call, void (*fn)(void *arg), void *arg)
{
    call->on_cancel = fn;
    call->cancel_arg = arg;
}

const struct ipc_caller *
ipc_call_caller(const struct ipc_call *call)
{
    return &call->caller;
}

size_t
ipc_call_take_fds(struct ipc_call *call, int *fds, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < call->nfds && n < max; i++)
        if (call->fds[i] >= 0)
            fds[n++] = vmt_take_fd(&call->fds[i]);
    return n;
}

/* Serialize message and give it to the backend. */
static void
ipc_call_send(struct ipc_call *call, const struct ProtobufCMessage *message,
              const int *fds, size_t nfds)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len ? len : 1);

    if (!bytes) {
        call->answer->fail(call->token, IPC_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    (void)protobuf_c_message_pack(message, bytes);
    call->answer->reply(call->token, bytes, len, fds, nfds);
}

void
ipc_call_reply(struct ipc_call *call, const struct ProtobufCMessage *message,
               const int *fds, size_t nfds)
{
    assert((message != NULL) == (call->method->reply != NULL));
    assert(!message || message->descriptor == call->method->reply);
    assert(ipc_fds_fit(call->method->fds_out, nfds));
    if (call->answer && message)
        ipc_call_send(call, message, fds, nfds);
    else if (call->answer)
        call->answer->reply(call->token, NULL, 0, fds, nfds);
    ipc_call_free(call);
}

void
ipc_call_fail(struct ipc_call *call, enum ipc_error code, const char *fmt, ...)
{
    char text[IPC_FAIL_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (call->answer)
        call->answer->fail(call->token, code, text);
    ipc_call_free(call);
}
