/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_address.c - where a bus is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/linux/dbus/dbus_call.h"

/* Source: D-Bus specification 0.41, "Well-known Message Bus Instances". */
#define DBUS_SYSTEM_ADDRESS "unix:path=/var/run/dbus/system_bus_socket"

char *
dbus_bus_address(const char *name)
{
    const char *env = NULL, *runtime = getenv("XDG_RUNTIME_DIR");
    char *path = NULL;

    if (strcmp(name, "system") == 0)
        env = getenv("DBUS_SYSTEM_BUS_ADDRESS");
    else if (strcmp(name, "session") == 0)
        env = getenv("DBUS_SESSION_BUS_ADDRESS");
    else
        return strdup(name);
    if (env && *env)
        return strdup(env);
    if (strcmp(name, "session") == 0 && runtime)
        return asprintf(&path, "unix:path=%s/bus", runtime) < 0 ? NULL : path;
    return strdup(DBUS_SYSTEM_ADDRESS);
}
