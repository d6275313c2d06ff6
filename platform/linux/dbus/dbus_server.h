/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_server.h - the IPC of a daemon on D-Bus.
 *
 * The service's dbus_name is requested as sole primary owner and its interface exported
 * at dbus_path, with Introspectable, Properties (see struct ipc_properties; read-only)
 * and Peer. Each message is one "ay" argument, descriptors follow as "h" or "ah". Source:
 * tests/data/wire/dbus.txt; D-Bus specification 0.41. */
#pragma once

#include "core/adapter/ipc.h"

struct ipc;
struct os_loop;
struct vmt_err;

struct dbus_server_config {
    const char *address; /* "system", "session", or the address of a bus */
    /* The bus went away: no call comes in and no answer gets out until it is back and the
     * name is ours again, which the server sees to by itself. In turns, from the loop,
     * on_lost first. Both may be NULL. */
    void (*on_lost)(void *arg);
    void (*on_back)(void *arg);
    void *arg; /* borrowed for the life of the server */
};

/* Connect, export, own the name: the only part that waits for the bus. ipc is borrowed
 * and must outlive the server, which it does when the server is given to it with
 * ipc_add_server. config is borrowed for the call. Returns 0; -EBUSY: somebody else owns
 * the name; -ECONNREFUSED: no such bus, or it does not want us; -ENOMEM. */
int dbus_server_new(struct os_loop *loop, struct ipc *ipc,
                    const struct dbus_server_config *config,
                    struct ipc_server **ret_server, struct vmt_err *err);

/* The introspection data of a service's object, malloc'ed; NULL: no memory. */
char *dbus_server_xml(const struct ipc_service *service);
