/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/transports.h - the transports: vsock, hybrid, tcp. */
#pragma once

#include "core/adapter/transport.h"

struct os_loop;
struct vmt_err;

/* AF_VSOCK of the kernel. vm_add's address is ignored; a listener accepts only from cids
 * that were added (in a guest: add VMT_CID_HOST, and nothing else gets in). Before a
 * guest's own processes could pose as the host, note that CID 1 and the guest's own CID
 * are refused because they are never added. Returns -EAFNOSUPPORT where the kernel has no
 * vsock: nothing is opened before the first connect or listen. */
int transport_vsock_new(struct os_loop *loop, struct transport **ret_transport,
                        struct vmt_err *err);

/* Unix sockets in a directory per VM, the convention of Firecracker and cloud-hypervisor:
 * host to guest by connecting to <dir>/vsock and sending "CONNECT <port>\n", answered by
 * "OK <n>\n"; guest to host by listening at <dir>/vsock_<port>.
 * Source: firecracker docs/vsock.md. */
int transport_hybrid_new(struct os_loop *loop, struct transport **ret_transport,
                         struct vmt_err *err);

/* TCP: vm_add's address is the numeric address of the guest, the port is the vsock port
 * number. listen binds to bind_address (numeric; NULL: 127.0.0.1). */
int transport_tcp_new(struct os_loop *loop, const char *bind_address,
                      struct transport **ret_transport, struct vmt_err *err);

/* The same below a layer that finds out itself who calls, as TLS does: lets everybody in,
 * as cid 0, and VMs may have the same address. */
int transport_tcp_open_new(struct os_loop *loop, const char *bind_address,
                           struct transport **ret_transport, struct vmt_err *err);
