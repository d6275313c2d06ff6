/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/transport_vsock.c - AF_VSOCK. Source: vsock(7), linux/vm_sockets.h.
 */
#include <errno.h>
#include <sys/time.h>

#include "core/base/err.h"
#include "platform/linux/os/transport_socket_internal.h"
#include "platform/linux/os/transports.h"

static int
vsock_vm_address(uint32_t cid, const char *address, union socket_address *ret,
                 struct vmt_err *err)
{
    (void)address;
    if (cid == VMADDR_CID_ANY || cid == VMADDR_CID_HYPERVISOR)
        return vmt_err_setx(err, EINVAL, "cid %u is reserved", cid);
    ret->vm = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid};
    return 0;
}

static void
vsock_set_port(union socket_address *address, uint32_t port)
{
    address->vm.svm_port = port;
}

static uint32_t
vsock_port(const union socket_address *address)
{
    return address->vm.svm_port;
}

static bool
vsock_same_host(const union socket_address *a, const union socket_address *b)
{
    return b->any.sa_family == AF_VSOCK && a->vm.svm_cid == b->vm.svm_cid;
}

static void
vsock_tune(int fd, bool listening, unsigned timeout_ms)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000,
                              .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};

    /* The kernel gives up after 2 s of its own; the caller's deadline is the one that
     * counts. */
    if (!listening && timeout_ms)
        (void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout,
                         sizeof(timeout));
}

static const struct socket_family vsock_family = {
    .name = "vsock",
    .peer_kind = STREAM_PEER_VSOCK,
    .port_max = VMADDR_PORT_ANY - 1,
    .missing = "this kernel has no vsock: load vhost_vsock (host) or "
               "vmw_vsock_virtio_transport (guest), or use the hybrid transport",
    .vm_address = vsock_vm_address,
    .set_port = vsock_set_port,
    .port = vsock_port,
    .same_host = vsock_same_host,
    .tune = vsock_tune,
};

int
transport_vsock_new(struct os_loop *loop, struct transport **ret_transport,
                    struct vmt_err *err)
{
    const union socket_address any = {
        .vm = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY}};

    return transport_socket_new(loop, &vsock_family, &any, ret_transport, err);
}
