/* SPDX-License-Identifier: BSD-3-Clause */
/* What the bus delivers to the object of a daemon: our message function and everything
 * behind it, see tests/unit/dbus/object.h.
 *
 * Byte 0 of an input says how the rest becomes a message:
 *   even  bytes on the wire; only what libdbus takes for a message gets to us
 *   odd   method, number and shape of descriptors, uid, then the argument: what a client
 *         library would make of it, and real descriptors, which bytes cannot carry */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/dbus/object.h"

#define FDS_MAX 20 /* some more than a call may have */

static DBusMessage *
message_from_bytes(const uint8_t *data, size_t len)
{
    DBusError e = DBUS_ERROR_INIT;
    DBusMessage *msg;

    if (len < DBUS_MINIMUM_HEADER_SIZE || len > INT32_MAX)
        return NULL;
    msg = dbus_message_demarshal((const char *)data, (int)len, &e);
    dbus_error_free(&e);
    return msg;
}

static void
append_fds(DBusMessageIter *it, uint8_t shape, size_t n)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    DBusMessageIter sub = *it;
    bool array = shape & 1;

    assert(fd >= 0);
    if (array)
        assert(dbus_message_iter_open_container(it, DBUS_TYPE_ARRAY, "h", &sub));
    for (size_t i = 0; i < n; i++)
        assert(dbus_message_iter_append_basic(array ? &sub : it, DBUS_TYPE_UNIX_FD, &fd));
    if (array)
        assert(dbus_message_iter_close_container(it, &sub));
    vmt_closep(&fd);
}

static void
append_bytes(DBusMessageIter *it, const uint8_t *data, size_t len)
{
    DBusMessageIter sub;

    assert(dbus_message_iter_open_container(it, DBUS_TYPE_ARRAY, "y", &sub));
    assert(dbus_message_iter_append_fixed_array(&sub, DBUS_TYPE_BYTE, &data, (int)len));
    assert(dbus_message_iter_close_container(it, &sub));
}

static DBusMessage *
message_from_parts(const uint8_t *data, size_t len)
{
    const struct ipc_service *s = object_service();
    DBusMessageIter it;
    DBusMessage *msg;

    if (len < 4)
        return NULL;
    msg = dbus_message_new_method_call(s->dbus_name, s->dbus_path, s->dbus_name,
                                       s->methods[data[0] % s->nmethods].name);
    assert(msg);
    dbus_message_set_serial(msg, 1);
    dbus_message_set_no_reply(msg, data[2] & 4);
    dbus_message_iter_init_append(msg, &it);
    if (data[2] & 2 || len > 4)
        append_bytes(&it, data + 4, len - 4);
    if (data[1] || data[2] & 1)
        append_fds(&it, data[2], data[1] % (FDS_MAX + 1));
    return msg;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DBusMessage *msg;

    object_init();
    if (size == 0)
        return 0;
    msg = data[0] & 1 ? message_from_parts(data + 1, size - 1)
                      : message_from_bytes(data + 1, size - 1);
    if (!msg)
        return 0;
    object_deliver(msg, data[0] & 1 ? data[4] : data[0] >> 1);
    dbus_message_unref(msg);
    return 0;
}
