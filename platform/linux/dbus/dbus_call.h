/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_call.h - one call over a bus, for tools that make no other. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct vmt_err;

/* Strings and request are borrowed for the call. */
struct dbus_client_call {
    const char *bus; /* "system", "session" or an address */
    const char *name, *path, *interface, *method;
    const uint8_t *request; /* len bytes, sent as "ay" */
    size_t len;
    int timeout_ms;
};

/* Call a method that answers with one "ay", and wait. *ret_reply is malloc'ed, *ret_len
 * bytes. libdbus is loaded by this and not linked: a program that rarely calls would pay
 * for it at each of its starts. Returns 0, -ENOTSUP when there is no libdbus,
 * -ECONNREFUSED when there is no bus, -ENOENT when nobody on it has that name, -EACCES,
 * -ETIMEDOUT, -ENOMEM, -EIO for every other error and for answers of another shape. */
int dbus_call_wait(const struct dbus_client_call *call, uint8_t **ret_reply,
                   size_t *ret_len, struct vmt_err *err);

/* What "system" and "session" stand for, malloc'ed; any other name is an address. NULL:
 * no memory. */
char *dbus_bus_address(const char *name);
