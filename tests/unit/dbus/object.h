/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/dbus/object.h - the object of a daemon without a bus.
 *
 * The message function and everything behind it are the real ones, with concierge's
 * table. object.c stands in for dbus_server.c, dbus_connect.c and dbus_callers.c: every
 * caller is known, and what is sent is looked at. */
#pragma once

#include <dbus/dbus.h>
#include <stdint.h>

struct ipc_service;

/* Once per process. */
void object_init(void);
const struct ipc_service *object_service(void);
/* Give the object a message of a client with that uid. Asserts that a call got exactly
 * one answer, or none when it wants none, and that no descriptor is left open. */
void object_deliver(DBusMessage *msg, uint32_t uid);
