/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/contract/ipc/echo.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "vmt_ipc.pb-c.h"

#define SIGNAL (&vmt__signal__descriptor)
#define ECHO_READ_MAX 256

static void
reply_name(struct ipc_call *call, const char *name)
{
    Vmt__Signal m;

    vmt__signal__init(&m);
    m.name = (char *)(uintptr_t)name;
    ipc_call_reply(call, &m.base, NULL, 0);
}

static void
reply_number(struct ipc_call *call, unsigned long n)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%lu", n);
    reply_name(call, text);
}

static void
handle_cancelled(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    struct echo *e = ctx;

    (void)request;
    reply_number(call, e->cancelled);
}

static void
handle_count_fds(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned long n = 0;

    (void)ctx;
    (void)request;
    while (dir && readdir(dir))
        n++;
    if (dir)
        (void)closedir(dir);
    reply_number(call, n);
}

static void
handle_echo(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    (void)ctx;
    ipc_call_reply(call, request, NULL, 0);
}

static void
handle_fail(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    const Vmt__Signal *m = (const Vmt__Signal *)request;

    (void)ctx;
    ipc_call_fail(call, m->message.len ? m->message.data[0] : IPC_ERROR_FAILED, "%s",
                  m->name);
}

static void
handle_get_caller(void *ctx, struct ipc_call *call,
                  const struct ProtobufCMessage *request)
{
    char text[32];

    (void)ctx;
    (void)request;
    (void)snprintf(text, sizeof(text), "%u %d", ipc_call_caller(call)->uid,
                   ipc_call_caller(call)->pid);
    reply_name(call, text);
}

static void
handle_join(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    int fds[VMT_FDS_MAX], reversed[VMT_FDS_MAX];
    size_t n = ipc_call_take_fds(call, fds, VMT_FDS_MAX);

    (void)ctx;
    for (size_t i = 0; i < n; i++)
        reversed[n - 1 - i] = fds[i];
    ipc_call_reply(call, request, reversed, n);
    for (size_t i = 0; i < n; i++)
        vmt_closep(&fds[i]);
}

static void
on_later_cancelled(void *arg)
{
    struct echo *e = arg;

    e->cancelled++;
}

static void
handle_later(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    struct echo *e = ctx;

    if (e->nlater == e->cap) {
        e->cap = e->cap ? 2 * e->cap : 16;
        e->later = realloc(e->later, e->cap * sizeof(struct ipc_call *));
        e->requests =
            realloc(e->requests, e->cap * sizeof(const struct ProtobufCMessage *));
        if (!e->later || !e->requests)
            abort();
    }
    e->later[e->nlater] = call;
    e->requests[e->nlater++] = request;
    ipc_call_on_cancel(call, on_later_cancelled, e);
}

static void
handle_nothing(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    (void)ctx;
    (void)request;
    ipc_call_reply(call, NULL, NULL, 0);
}

static void
handle_optional(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    int fds[VMT_FDS_MAX];
    size_t n = ipc_call_take_fds(call, fds, VMT_FDS_MAX);

    (void)ctx;
    (void)request;
    for (size_t i = 0; i < n; i++)
        vmt_closep(&fds[i]);
    reply_number(call, n);
}

static void
handle_raise(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    struct echo *e = ctx;

    (void)ipc_emit(e->ipc, "Rose", request);
    ipc_call_reply(call, NULL, NULL, 0);
}

static void
handle_read(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    uint8_t buf[ECHO_READ_MAX];
    Vmt__Signal m;
    ssize_t n;

    (void)ctx;
    (void)request;
    (void)ipc_call_take_fds(call, &fd, 1);
    n = read(fd, buf, sizeof(buf));
    if (n < 0) {
        ipc_call_fail(call, IPC_ERROR_FAILED, "not readable");
        return;
    }
    vmt__signal__init(&m);
    m.message.data = buf;
    m.message.len = (size_t)n;
    ipc_call_reply(call, &m.base, NULL, 0);
}

static void
handle_release(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    struct echo *e = ctx;
    size_t n = e->nlater;

    (void)request;
    while (e->nlater > 0) {
        e->nlater--;
        ipc_call_reply(e->later[e->nlater], e->requests[e->nlater], NULL, 0);
    }
    reply_number(call, n);
}

static void
handle_waiting(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    const struct echo *e = ctx;

    (void)request;
    reply_number(call, e->nlater);
}

#define LIST_VMS (&vm_tools__concierge__list_vms_request__descriptor)
static const struct ipc_method methods[] = {
    {"Cancelled", NULL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY,
     handle_cancelled, false},
    {"CountFds", NULL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY,
     handle_count_fds, false},
    {"Echo", SIGNAL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_echo,
     false},
    {"Fail", SIGNAL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_fail,
     false},
    {"GetCaller", NULL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY,
     handle_get_caller, false},
    {"Join", SIGNAL, SIGNAL, IPC_FDS_ARRAY, IPC_FDS_ARRAY, IPC_ACCESS_ANY, handle_join,
     false},
    {"Later", SIGNAL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_later,
     false},
    {"Nothing", NULL, NULL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_nothing,
     false},
    {"Optional", SIGNAL, SIGNAL, IPC_FDS_ARRAY_OPTIONAL, IPC_FDS_NONE, IPC_ACCESS_ANY,
     handle_optional, false},
    {"Owned", LIST_VMS, NULL, IPC_FDS_ARRAY_OPTIONAL, IPC_FDS_NONE, IPC_ACCESS_OWNER,
     handle_nothing, false},
    {"Raise", SIGNAL, NULL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_raise,
     false},
    {"Read", SIGNAL, SIGNAL, IPC_FDS_ONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_read,
     false},
    {"Release", NULL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_release,
     false},
    {"RootOnly", NULL, NULL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ROOT, handle_nothing,
     false},
    {"ServiceOnly", NULL, NULL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_SERVICE,
     handle_nothing, false},
    {"Waiting", NULL, SIGNAL, IPC_FDS_NONE, IPC_FDS_NONE, IPC_ACCESS_ANY, handle_waiting,
     false},
};

static const struct ipc_signal signals[] = {{"Rose", SIGNAL}};

const struct ipc_service echo_service = {
    .grpc_name = "vmt.test.Echo",
    .dbus_name = "org.vmt.test.Echo",
    .dbus_path = "/org/vmt/test/Echo",
    .methods = methods,
    .nmethods = VMT_ARRAY_SIZE(methods),
    .signals = signals,
    .nsignals = VMT_ARRAY_SIZE(signals),
};

void
echo_done(struct echo *echo)
{
    for (size_t i = 0; i < echo->nlater; i++) /* after ipc_free: into nothing */
        ipc_call_fail(echo->later[i], IPC_ERROR_FAILED, "the end");
    free(echo->later);
    free(echo->requests);
}
