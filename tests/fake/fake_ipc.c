/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_ipc.h"

#include <fcntl.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
fake_handle(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    struct fake_daemon *d = ctx;

    d->handled++;
    d->call = call;
    d->request = request;
}

static const struct ipc_method fake_methods[] = {
    {.name = "GetDnsSettings",
     .reply = &vm_tools__concierge__dns_settings__descriptor,
     .handle = fake_handle},
    {.name = "ImportDiskImage",
     .request = &vm_tools__concierge__import_disk_image_request__descriptor,
     .reply = &vm_tools__concierge__import_disk_image_response__descriptor,
     .fds_in = IPC_FDS_ONE,
     .access = IPC_ACCESS_OWNER,
     .handle = fake_handle},
    {.name = "StartVm",
     .request = &vm_tools__concierge__start_vm_request__descriptor,
     .reply = &vm_tools__concierge__start_vm_response__descriptor,
     .fds_in = IPC_FDS_ARRAY_OPTIONAL,
     .fds_out = IPC_FDS_ARRAY,
     .access = IPC_ACCESS_OWNER,
     .handle = fake_handle},
    {.name = "StopAllVms", .access = IPC_ACCESS_ROOT, .handle = fake_handle},
    {.name = "SyncVmTimes",
     .reply = &vm_tools__concierge__sync_vm_times_response__descriptor,
     .access = IPC_ACCESS_SERVICE,
     .handle = fake_handle},
};

static const struct ipc_signal fake_signals[] = {
    {"DnsSettingsChanged", &vm_tools__concierge__dns_settings__descriptor},
};

const struct ipc_service fake_service = {
    .grpc_name = "vm_tools.concierge.VmConcierge",
    .dbus_name = "org.chromium.VmConcierge",
    .dbus_path = "/org/chromium/VmConcierge",
    .methods = fake_methods,
    .nmethods = VMT_ARRAY_SIZE(fake_methods),
    .signals = fake_signals,
    .nsignals = VMT_ARRAY_SIZE(fake_signals),
};

static void
fake_reply(void *token, const uint8_t *bytes, size_t len, const int *fds, size_t nfds)
{
    struct fake_answer *a = token;

    (void)fds;
    a->replies++;
    a->has_bytes = bytes != NULL;
    a->len = len;
    a->nfds = nfds;
    assert_true(len <= sizeof(a->bytes));
    if (len)
        memcpy(a->bytes, bytes, len);
}

static void
fake_fail(void *token, enum ipc_error code, const char *text)
{
    struct fake_answer *a = token;

    a->failures++;
    a->code = code;
    (void)snprintf(a->text, sizeof(a->text), "%s", text);
}

const struct ipc_answer_ops fake_answer_ops = {.reply = fake_reply, .fail = fake_fail};

static void
fake_server_emit(struct ipc_server *server, const struct ipc_signal *signal,
                 const uint8_t *bytes, size_t len)
{
    struct fake_server *s = VMT_CONTAINER_OF(server, struct fake_server, base);

    s->emitted++;
    s->signal = signal;
    s->len = len;
    assert_true(len <= sizeof(s->bytes));
    memcpy(s->bytes, bytes, len);
}

static void
fake_server_free(struct ipc_server *server)
{
    VMT_CONTAINER_OF(server, struct fake_server, base)->freed++;
}

static const struct ipc_server_ops fake_server_ops = {
    .name = "fake", .emit = fake_server_emit, .free = fake_server_free};

void
fake_server_init(struct fake_server *s)
{
    memset(s, 0, sizeof(*s));
    s->base.ops = &fake_server_ops;
}

struct ipc *
fake_ipc_new(struct fake_daemon *d)
{
    struct ipc_identity self = {.uid = FAKE_UID_DAEMON};
    struct ipc *ipc;

    memset(d, 0, sizeof(*d));
    assert_int_equal(ipc_new(&fake_service, d, &self, &ipc, NULL), 0);
    return ipc;
}

void
fake_call(struct ipc *ipc, const char *method, uint32_t uid, const uint8_t *bytes,
          size_t len, const int *fds, size_t nfds, struct fake_answer *answer)
{
    struct ipc_incoming in = {.method = ipc_find_method(ipc, method),
                              .caller = {.uid = uid, .pid = 77},
                              .bytes = bytes,
                              .len = len,
                              .fds = fds,
                              .nfds = nfds,
                              .token = answer};

    memset(answer, 0, sizeof(*answer));
    assert_non_null(in.method);
    ipc_dispatch(ipc, &in, &fake_answer_ops);
}

bool
fake_fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}
