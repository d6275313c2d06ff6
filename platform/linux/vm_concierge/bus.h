/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_concierge/bus.h - D-Bus, if this build has it. */
#pragma once

struct host_sleep;
struct ipc;
struct os_loop;
struct vmt_err;

/* Serve ipc on a bus: "system", "session" or an address. on_lost as in dbus_server.h.
 * Returns 0, -ENOTSUP in a build without D-Bus, or what dbus_server_new gave. */
int bus_serve(struct os_loop *loop, struct ipc *ipc, const char *address,
              void (*on_lost)(void *arg), void *arg, struct vmt_err *err);

/* Who says that the host is about to sleep: logind on that bus ("system", "session" or an
 * address; NULL: system). *ret_sleep is NULL for "none" and in a build without D-Bus.
 * Whether logind is there shows later, and may change. Returns 0 or -ENOMEM. */
int bus_sleep_new(struct os_loop *loop, const char *address,
                  struct host_sleep **ret_sleep, struct vmt_err *err);
void bus_sleep_free(struct host_sleep *sleep); /* NULL is legal */
