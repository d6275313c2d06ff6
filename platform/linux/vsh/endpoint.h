/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/endpoint.h - where a guest's vshd can be reached. */
#pragma once

#include <stdint.h>

struct vmt_err;

enum vsh_endpoint_kind {
    VSH_ENDPOINT_HYBRID, /* address: the directory of the VM's sockets */
    VSH_ENDPOINT_VSOCK,  /* cid */
    VSH_ENDPOINT_TCP,    /* address: numeric address */
    VSH_ENDPOINT_UNIX,   /* address: a socket of a vshd that listens there itself */
};

#define VSH_ENDPOINT_ADDRESS_MAX 4096

struct vsh_endpoint {
    enum vsh_endpoint_kind kind;
    uint32_t cid;
    char address[VSH_ENDPOINT_ADDRESS_MAX];
};

/* Parse "hybrid:DIR", "vsock:CID", "tcp:ADDRESS" or "unix:PATH", as it stands in
 * VmInfo.transport. Returns 0 or -EINVAL. */
int vsh_endpoint_parse(const char *text, struct vsh_endpoint *ret_endpoint,
                       struct vmt_err *err);
