/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/dbus/object.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/concierge/service.h"
#include "platform/linux/dbus/dbus_internal.h"
#include "tests/fuzz/walk.h"

#define DAEMON_UID 1
#define CLIENT ":1.7"

static struct {
    struct dbus_ipc d;
    struct ipc_service service;
    uint32_t uid;
    dbus_uint32_t serial; /* of the call */
    int answers;
    const struct ipc_method *method; /* of the call, once it got as far as ipc */
} world;

void
dbus_send(struct dbus_ipc *d, DBusMessage *msg)
{
    (void)d;
    assert(msg);
    assert(dbus_message_get_reply_serial(msg) == world.serial);
    world.answers++;
    dbus_message_unref(msg);
}

void
dbus_send_error(struct dbus_ipc *d, DBusMessage *msg, const char *name, const char *text)
{
    if (!dbus_message_get_no_reply(msg))
        dbus_send(d, dbus_message_new_error(
                         msg, name, dbus_validate_utf8(text, NULL) ? text : "bytes"));
}

void
dbus_callers_resolve(struct dbus_ipc *d, DBusMessage *msg)
{
    const struct ipc_caller who = {.uid = world.uid, .pid = 1};

    world.method = ipc_find_method(d->ipc, dbus_message_get_member(msg));
    assert(world.method);
    dbus_methods_dispatch(d, msg, &who);
}

static void
ignore(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg, (void)level, (void)line;
}

/* Answer with the text that the request is made of, or with an empty reply. */
static void
handle(void *ctx, struct ipc_call *call, const struct ProtobufCMessage *request)
{
    static const uint8_t none[1];
    const struct ipc_method *m = world.method;
    size_t len = request ? protobuf_c_message_get_packed_size(request) : 0;
    int fds[] = {STDIN_FILENO, STDERR_FILENO};
    struct ProtobufCMessage *reply = NULL;

    (void)ctx;
    if (request)
        fuzz_walk(request);
    if (len % 2) {
        VMT_CLEANUP(vmt_freep) uint8_t *text = calloc(1, len + 1);

        assert(text);
        (void)protobuf_c_message_pack(request, text);
        ipc_call_fail(call, IPC_ERROR_FAILED, "%s", (char *)text);
        return;
    }
    if (m->reply)
        reply = protobuf_c_message_unpack(m->reply, NULL, 0, none);
    ipc_call_reply(call, reply, fds, m->fds_out == IPC_FDS_NONE ? 0 : len % 3);
    if (reply)
        protobuf_c_message_free_unpacked(reply, NULL);
}

void
object_init(void)
{
    const struct ipc_identity self = {.uid = DAEMON_UID};
    struct ipc_method *methods;

    if (world.d.ipc)
        return;
    world.service = concierge_service;
    methods = calloc(world.service.nmethods, sizeof(*methods));
    if (!methods)
        abort();
    for (size_t i = 0; i < world.service.nmethods; i++) {
        methods[i] = concierge_service.methods[i];
        methods[i].handle = handle;
    }
    world.service.methods = methods;
    vmt_log_init("fuzz", ignore, NULL);
    vmt_list_init(&world.d.callers);
    vmt_list_init(&world.d.calls);
    if (ipc_new(&world.service, NULL, &self, &world.d.ipc, NULL) < 0)
        abort();
}

const struct ipc_service *
object_service(void)
{
    return &world.service;
}

static int
count_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 32; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

void
object_deliver(DBusMessage *msg, uint32_t uid)
{
    bool is_call = dbus_message_get_type(msg) == DBUS_MESSAGE_TYPE_METHOD_CALL;
    bool silent = dbus_message_get_no_reply(msg);
    int before = count_fds();
    DBusHandlerResult r;

    (void)dbus_message_set_sender(msg,
                                  CLIENT); /* the bus does, whatever the client said */
    world.serial = dbus_message_get_serial(msg);
    world.uid = uid;
    world.answers = 0;
    world.method = NULL;
    r = dbus_methods_on_message(NULL, msg, &world.d);
    assert(r != DBUS_HANDLER_RESULT_NEED_MEMORY);
    if (r == DBUS_HANDLER_RESULT_HANDLED) {
        assert(is_call);
        assert(world.answers == (silent ? 0 : 1));
    } else {
        assert(world.answers == 0 && !world.method);
    }
    assert(vmt_list_empty(&world.d.calls));
    assert(count_fds() == before);
}
