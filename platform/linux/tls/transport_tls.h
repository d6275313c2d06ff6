/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/transport_tls.h - TCP with TLS as a transport and as a connector. */
#pragma once

struct connector;
struct os_loop;
struct tls_context;
struct transport;
struct vmt_err;

struct transport_tls_config {
    struct tls_context *server; /* borrowed; NULL: listen gives -EINVAL */
    struct tls_context *client; /* borrowed; NULL: connect gives -EINVAL */
    const char *bind_address;   /* as for transport_tcp_new */
};

/* vm_add's address is IDENTITY@HOST: the name in the VM's certificate as its stream_peer
 * tells it, and its numeric address, which may be missing for a VM that only calls. Who
 * calls is known by the certificate alone: VMs may come from one address, or from
 * changing ones; no two may have one identity. A listener hears of connections whose
 * handshake is over and whose identity was added; 256 more may be in their handshake, for
 * each further one the oldest is dropped. The deadline of a dial covers the handshake. */
int transport_tls_new(struct os_loop *loop, const struct transport_tls_config *config,
                      struct transport **ret_transport, struct vmt_err *err);

/* A connector that shakes hands over what another one connects; lower is its own from
 * success on. name and identity as in struct tls_dial, copied. */
int tls_connector_new(struct tls_context *context, struct connector *lower,
                      const char *name, const char *identity,
                      struct connector **ret_connector, struct vmt_err *err);
