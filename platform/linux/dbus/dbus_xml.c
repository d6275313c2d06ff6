/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_xml.c - introspection data from the method table.
 * Source of the format: D-Bus specification 0.41, "Introspection Data Format". */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "platform/linux/dbus/dbus_internal.h"

static const char xml_head[] = DBUS_INTROSPECT_1_0_XML_DOCTYPE_DECL_NODE
    "<node>\n"
    " <interface name=\"org.freedesktop.DBus.Peer\">\n"
    "  <method name=\"Ping\"/>\n"
    "  <method name=\"GetMachineId\">\n"
    "   <arg name=\"machine_uuid\" type=\"s\" direction=\"out\"/>\n"
    "  </method>\n"
    " </interface>\n"
    " <interface name=\"org.freedesktop.DBus.Introspectable\">\n"
    "  <method name=\"Introspect\">\n"
    "   <arg name=\"xml_data\" type=\"s\" direction=\"out\"/>\n"
    "  </method>\n"
    " </interface>\n"
    " <interface name=\"org.freedesktop.DBus.Properties\">\n"
    "  <method name=\"Get\">\n"
    "   <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"
    "   <arg name=\"property_name\" type=\"s\" direction=\"in\"/>\n"
    "   <arg name=\"value\" type=\"v\" direction=\"out\"/>\n"
    "  </method>\n"
    "  <method name=\"Set\">\n"
    "   <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"
    "   <arg name=\"property_name\" type=\"s\" direction=\"in\"/>\n"
    "   <arg name=\"value\" type=\"v\" direction=\"in\"/>\n"
    "  </method>\n"
    "  <method name=\"GetAll\">\n"
    "   <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"
    "   <arg name=\"properties\" type=\"a{sv}\" direction=\"out\"/>\n"
    "  </method>\n"
    " </interface>\n";

static void
xml_fds(FILE *f, enum ipc_fds fds, const char *direction)
{
    if (fds == IPC_FDS_ONE)
        (void)fprintf(f, "   <arg name=\"fd\" type=\"h\" direction=\"%s\"/>\n",
                      direction);
    else if (fds != IPC_FDS_NONE)
        (void)fprintf(f, "   <arg name=\"fds\" type=\"ah\" direction=\"%s\"/>\n",
                      direction);
}

static void
xml_method(FILE *f, const struct ipc_method *m)
{
    (void)fprintf(f, "  <method name=\"%s\">\n", m->name);
    if (m->request)
        (void)fputs("   <arg name=\"request\" type=\"ay\" direction=\"in\"/>\n", f);
    xml_fds(f, m->fds_in, "in");
    if (m->reply)
        (void)fputs("   <arg name=\"reply\" type=\"ay\" direction=\"out\"/>\n", f);
    xml_fds(f, m->fds_out, "out");
    (void)fputs("  </method>\n", f);
}

/* A property that stays as it is while the daemon lives. */
static void
xml_property(FILE *f, const char *name, const char *type)
{
    (void)fprintf(
        f,
        "  <property name=\"%s\" type=\"%s\" access=\"read\">\n"
        "   <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\""
        " value=\"const\"/>\n"
        "  </property>\n",
        name, type);
}

char *
dbus_server_xml(const struct ipc_service *service)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        return NULL;
    (void)fputs(xml_head, f);
    (void)fprintf(f, " <interface name=\"%s\">\n", service->dbus_name);
    for (size_t i = 0; i < service->nmethods; i++)
        xml_method(f, &service->methods[i]);
    for (size_t i = 0; i < service->nsignals; i++)
        (void)fprintf(f,
                      "  <signal name=\"%s\">\n"
                      "   <arg name=\"signal\" type=\"ay\"/>\n"
                      "  </signal>\n",
                      service->signals[i].name);
    xml_property(f, "Version", "s");
    xml_property(f, "Capabilities", "as");
    (void)fputs(" </interface>\n</node>\n", f);
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}
