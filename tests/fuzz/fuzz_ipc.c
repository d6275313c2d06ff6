/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as the request of any method of concierge, from any caller: byte 0 chooses
 * the method, byte 1 the uid, byte 2 the number of descriptors, the rest is the message.
 * Every call must be answered once, and every descriptor be closed. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/concierge/service.h"
#include "core/ipc/ipc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/walk.h"

#define HEAD 3
#define DAEMON_UID 1

static void
ignore(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line;
}

/* Looks at the request as far as a handler could: all of it. */
static void
handle(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    (void)ctx;
    if (request)
        fuzz_walk(request);
    ipc_call_fail(call, IPC_ERROR_FAILED, "%s", "seen");
}

static void
on_reply(void *token, const uint8_t *bytes, size_t len, const int *fds, size_t nfds)
{
    (void)bytes;
    (void)len;
    (void)fds;
    (void)nfds;
    ++*(int *)token;
}

static void
on_fail(void *token, enum ipc_error code, const char *text)
{
    (void)code;
    (void)text;
    ++*(int *)token;
}

static const struct ipc_answer_ops answer_ops = {.reply = on_reply, .fail = on_fail};

/* Concierge's table with handlers that need no concierge. */
static struct ipc *
fuzz_ipc(void)
{
    static struct ipc_service service;
    static struct ipc *ipc;
    struct ipc_identity self = {.uid = DAEMON_UID};
    struct ipc_method *methods;

    if (ipc)
        return ipc;
    service = concierge_service;
    methods = calloc(service.nmethods, sizeof(*methods));
    if (!methods)
        abort();
    for (size_t i = 0; i < service.nmethods; i++) {
        methods[i] = concierge_service.methods[i];
        methods[i].handle = handle;
    }
    service.methods = methods;
    vmt_log_init("fuzz", ignore, NULL);
    if (ipc_new(&service, NULL, &self, &ipc, NULL) < 0)
        abort();
    return ipc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ipc *ipc = fuzz_ipc();
    const struct ipc_service *service = ipc_service(ipc);
    int fds[VMT_FDS_MAX + 4], answers = 0;
    struct ipc_incoming in = {.token = &answers, .fds = fds};

    if (size < HEAD)
        return 0;
    in.method = &service->methods[data[0] % service->nmethods];
    in.caller.uid = data[1];
    in.nfds = data[2] % (VMT_ARRAY_SIZE(fds) + 1);
    in.bytes = size > HEAD ? data + HEAD : NULL;
    in.len = size - HEAD;
    for (size_t i = 0; i < in.nfds; i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ipc_dispatch(ipc, &in, &answer_ops);
    assert(answers == 1);
    for (size_t i = 0; i < in.nfds; i++)
        assert(fcntl(fds[i], F_GETFD) < 0);
    return 0;
}
