/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "core/base/err.h"
#include "platform/linux/vm_concierge/bus.h"

int
bus_serve(struct os_loop *loop, struct ipc *ipc, const char *address,
          void (*on_lost)(void *arg), void *arg, struct vmt_err *err)
{
    (void)loop;
    (void)ipc;
    (void)on_lost;
    (void)arg;
    return vmt_err_setx(err, ENOTSUP, "this build has no D-Bus, so not %s", address);
}

int
bus_sleep_new(struct os_loop *loop, const char *address, struct host_sleep **ret_sleep,
              struct vmt_err *err)
{
    (void)loop;
    (void)address;
    (void)err;
    *ret_sleep = NULL;
    return 0;
}

void
bus_sleep_free(struct host_sleep *sleep)
{
    (void)sleep;
}
