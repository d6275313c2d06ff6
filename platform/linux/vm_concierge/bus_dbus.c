/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_concierge/bus.h"

#include <string.h>

#include "core/base/err.h"
#include "core/ipc/ipc.h"
#include "platform/linux/dbus/dbus_logind.h"
#include "platform/linux/dbus/dbus_server.h"

int
bus_serve(struct os_loop *loop, struct ipc *ipc, const char *address,
          void (*on_lost)(void *arg), void *arg, struct vmt_err *err)
{
    const struct dbus_server_config config = {
        .address = address, .on_lost = on_lost, .arg = arg};
    struct ipc_server *server = NULL;
    int r = dbus_server_new(loop, ipc, &config, &server, err);

    if (r < 0)
        return r;
    r = ipc_add_server(ipc, server, err);
    if (r < 0)
        server->ops->free(server);
    return r;
}

int
bus_sleep_new(struct os_loop *loop, const char *address, struct host_sleep **ret_sleep,
              struct vmt_err *err)
{
    *ret_sleep = NULL;
    if (address && strcmp(address, "none") == 0)
        return 0;
    return dbus_logind_new(loop, address ? address : "system", ret_sleep, err);
}

void
bus_sleep_free(struct host_sleep *sleep)
{
    dbus_logind_free(sleep);
}
