/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_util.c - small things that libdbus leaves to its users. */
#include <string.h>

#include "core/base/log.h"
#include "platform/linux/dbus/dbus_internal.h"

const char *
dbus_text(const char *text, char buf[static DBUS_TEXT_MAX])
{
    /* libdbus aborts on a string that is not UTF-8. */
    if (dbus_validate_utf8(text, NULL))
        return text;
    return vmt_log_escape(buf, DBUS_TEXT_MAX, text, strlen(text));
}

void
dbus_message_unrefp(DBusMessage **msg)
{
    if (*msg)
        dbus_message_unref(*msg);
}
