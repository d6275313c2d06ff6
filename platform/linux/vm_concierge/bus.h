/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_concierge/bus.h - D-Bus, if this build has it. */
#pragma once

struct ipc;
struct os_loop;
struct vmt_err;

/* Serve ipc on a bus: "system", "session" or an address. on_lost as in dbus_server.h.
 * Returns 0, -ENOTSUP in a build without D-Bus, or what dbus_server_new gave. */
int bus_serve(struct os_loop *loop, struct ipc *ipc, const char *address,
              void (*on_lost)(void *arg), void *arg, struct vmt_err *err);
