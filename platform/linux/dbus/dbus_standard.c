/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_standard.c - Introspectable and Properties of our object.
 * Source: D-Bus specification 0.41, "Standard Interfaces". Peer is answered by libdbus.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/dbus/dbus_internal.h"

static bool
append_version(DBusMessageIter *it, const struct ipc_properties *p)
{
    DBusMessageIter sub;

    return dbus_message_iter_open_container(it, DBUS_TYPE_VARIANT,
                                            DBUS_TYPE_STRING_AS_STRING, &sub) &&
           dbus_message_iter_append_basic(&sub, DBUS_TYPE_STRING, &p->version) &&
           dbus_message_iter_close_container(it, &sub);
}

static bool
append_capabilities(DBusMessageIter *it, const struct ipc_properties *p)
{
    DBusMessageIter sub, list;

    if (!dbus_message_iter_open_container(it, DBUS_TYPE_VARIANT, "as", &sub) ||
        !dbus_message_iter_open_container(&sub, DBUS_TYPE_ARRAY,
                                          DBUS_TYPE_STRING_AS_STRING, &list))
        return false;
    for (size_t i = 0; i < p->ncapabilities; i++)
        if (!dbus_message_iter_append_basic(&list, DBUS_TYPE_STRING, &p->capabilities[i]))
            return false;
    return dbus_message_iter_close_container(&sub, &list) &&
           dbus_message_iter_close_container(it, &sub);
}

static const struct property {
    const char *name;
    bool (*append)(DBusMessageIter *it, const struct ipc_properties *p);
} properties[] = {{"Version", append_version}, {"Capabilities", append_capabilities}};

static const struct property *
property_find(const char *name)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(properties); i++)
        if (strcmp(properties[i].name, name) == 0)
            return &properties[i];
    return NULL;
}

/* All of them by name, or {} */
static bool
append_properties(DBusMessageIter *it, const struct ipc_properties *p, bool all)
{
    DBusMessageIter sub, entry;

    if (!dbus_message_iter_open_container(it, DBUS_TYPE_ARRAY, "{sv}", &sub))
        return false;
    for (size_t i = 0; all && i < VMT_ARRAY_SIZE(properties); i++)
        if (!dbus_message_iter_open_container(&sub, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
            !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING,
                                            &properties[i].name) ||
            !properties[i].append(&entry, p) ||
            !dbus_message_iter_close_container(&sub, &entry))
            return false;
    return dbus_message_iter_close_container(it, &sub);
}

static void
on_introspect(struct dbus_ipc *d, DBusMessage *msg)
{
    VMT_CLEANUP(vmt_freep) char *xml = dbus_server_xml(ipc_service(d->ipc));
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *reply = dbus_message_new_method_return(msg);

    if (xml && reply &&
        dbus_message_append_args(reply, DBUS_TYPE_STRING, &xml, DBUS_TYPE_INVALID))
        dbus_send(d, vmt_take_ptr(&reply));
    else
        dbus_send_error(d, msg, DBUS_ERROR_NO_MEMORY, "out of memory");
}

/* Whether an interface name of a Properties call is ours; "" stands for any. */
static bool
interface_is_ours(const struct dbus_ipc *d, const char *interface)
{
    return interface[0] == '\0' || strcmp(interface, ipc_service(d->ipc)->dbus_name) == 0;
}

static void
on_get(struct dbus_ipc *d, DBusMessage *msg)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *reply = dbus_message_new_method_return(msg);
    const struct property *property;
    const char *interface, *name;
    DBusMessageIter it;

    if (!dbus_message_get_args(msg, NULL, DBUS_TYPE_STRING, &interface, DBUS_TYPE_STRING,
                               &name, DBUS_TYPE_INVALID)) {
        dbus_send_error(d, msg, DBUS_ERROR_INVALID_ARGS, "Get takes two strings");
        return;
    }
    property = interface_is_ours(d, interface) ? property_find(name) : NULL;
    if (!property) {
        dbus_send_error(d, msg, DBUS_ERROR_UNKNOWN_PROPERTY,
                        "there are only Version and Capabilities");
        return;
    }
    if (reply)
        dbus_message_iter_init_append(reply, &it);
    if (reply && property->append(&it, ipc_properties(d->ipc)))
        dbus_send(d, vmt_take_ptr(&reply));
    else
        dbus_send_error(d, msg, DBUS_ERROR_NO_MEMORY, "out of memory");
}

static void
on_get_all(struct dbus_ipc *d, DBusMessage *msg)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *reply = dbus_message_new_method_return(msg);
    const char *interface;
    DBusMessageIter it;

    if (!dbus_message_get_args(msg, NULL, DBUS_TYPE_STRING, &interface,
                               DBUS_TYPE_INVALID)) {
        dbus_send_error(d, msg, DBUS_ERROR_INVALID_ARGS, "GetAll takes a string");
        return;
    }
    if (reply)
        dbus_message_iter_init_append(reply, &it);
    if (reply &&
        append_properties(&it, ipc_properties(d->ipc), interface_is_ours(d, interface)))
        dbus_send(d, vmt_take_ptr(&reply));
    else
        dbus_send_error(d, msg, DBUS_ERROR_NO_MEMORY, "out of memory");
}

static void
on_set(struct dbus_ipc *d, DBusMessage *msg)
{
    const char *interface = "", *name = "";
    DBusMessageIter it;

    if (!dbus_message_has_signature(msg, "ssv")) {
        dbus_send_error(d, msg, DBUS_ERROR_INVALID_ARGS,
                        "Set takes two strings and a variant");
        return;
    }
    (void)dbus_message_iter_init(msg, &it);
    dbus_message_iter_get_basic(&it, &interface);
    (void)dbus_message_iter_next(&it);
    dbus_message_iter_get_basic(&it, &name);
    if (interface_is_ours(d, interface) && property_find(name))
        dbus_send_error(d, msg, DBUS_ERROR_PROPERTY_READ_ONLY, "no property can be set");
    else
        dbus_send_error(d, msg, DBUS_ERROR_UNKNOWN_PROPERTY,
                        "there are only Version and Capabilities");
}

static const struct {
    const char *interface, *member;
    void (*handle)(struct dbus_ipc *d, DBusMessage *msg);
} standard_methods[] = {
    {DBUS_INTERFACE_INTROSPECTABLE, "Introspect", on_introspect},
    {DBUS_INTERFACE_PROPERTIES, "Get", on_get},
    {DBUS_INTERFACE_PROPERTIES, "GetAll", on_get_all},
    {DBUS_INTERFACE_PROPERTIES, "Set", on_set},
};

static bool
interface_is_standard(const char *interface)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(standard_methods); i++)
        if (strcmp(standard_methods[i].interface, interface) == 0)
            return true;
    return false;
}

DBusHandlerResult
dbus_standard_on_message(struct dbus_ipc *d, DBusMessage *msg)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(standard_methods); i++) {
        if (!dbus_message_is_method_call(msg, standard_methods[i].interface,
                                         standard_methods[i].member))
            continue;
        if (!dbus_message_get_no_reply(msg)) /* they do nothing else */
            standard_methods[i].handle(d, msg);
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    if (interface_is_standard(dbus_message_get_interface(msg)))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED; /* libdbus answers UnknownMethod */
    dbus_send_error(d, msg, DBUS_ERROR_UNKNOWN_INTERFACE,
                    "the object has no such interface, see Introspect");
    return DBUS_HANDLER_RESULT_HANDLED;
}
