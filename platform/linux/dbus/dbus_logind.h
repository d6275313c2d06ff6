/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_logind.h - logind says that the host is about to sleep.
 *
 * A delay inhibitor of "sleep" is held all the time but from ready to the end of the
 * sleep. The bus and logind may be absent, and may come and go: that is tried again for
 * as long as somebody listens. Source: org.freedesktop.login1(5), PrepareForSleep,
 * Inhibit, InhibitDelayMaxUSec. */
#pragma once

#include "core/adapter/watch.h"

struct os_loop;
struct vmt_err;

/* address: "system", "session", or the address of a bus; copied. Nothing is connected
 * before start. Returns 0 or -ENOMEM. */
int dbus_logind_new(struct os_loop *loop, const char *address,
                    struct host_sleep **ret_sleep, struct vmt_err *err);
void dbus_logind_free(struct host_sleep *sleep); /* NULL is legal */
