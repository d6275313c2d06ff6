/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/forward_internal.h - what the files of forwarding share. */
#pragma once

#include <netinet/in.h>

#include "core/base/list.h"
#include "platform/linux/vsh/forward.h"

/* Connections that are carried at a time; the guest's vshd has its own limit. */
#define FORWARD_CARRIERS_MAX 512u
#define FORWARD_ADDRESSES_MAX 4u

struct os_listener;
struct stream;

/* One socket that listens at our side. */
struct forward_listener {
    struct vsh_forward *forward;         /* borrowed */
    const struct vsh_forward_spec *spec; /* borrowed */
    int fd;                              /* owned until the session is there */
    struct os_listener *accepter;        /* owned */
    bool unlink;                         /* the file is ours */
};

/* Where connections to one of the guest's listeners go. */
struct forward_target {
    const char *path; /* borrowed; NULL: one of addresses */
    char addresses[FORWARD_ADDRESSES_MAX][INET6_ADDRSTRLEN];
    size_t n;
    uint16_t port;
};

struct vsh_forward {
    struct os_loop *loop; /* borrowed */
    struct vsh_forward_config config;
    struct forward_listener *locals; /* owned, config.nlocal of them */
    struct forward_target *targets;  /* owned, nlisten of them */
    struct vsh_address *listen;      /* owned, nlisten of them: what the guest is asked */
    size_t nlisten;
    struct vmt_list carriers; /* owned struct carrier */
    size_t ncarriers;
};

/* forward_socket.c */
/* Returns 0 and a listening descriptor, or -errno with words. */
int forward_listen(const struct vsh_address *at, int *ret_fd, struct vmt_err *err);
/* Look up where to connect; may block. */
int forward_target_find(const struct vsh_address *to, struct forward_target *ret,
                        struct vmt_err *err);

/* forward_carrier.c - one connection each. They free themselves. */
/* From our side to the guest's address; takes stream over. */
void carrier_to_guest(struct vsh_forward *forward, const struct vsh_address *to,
                      struct stream *stream);
/* From the guest's side, by its token, to target, which is borrowed. */
void carrier_from_guest(struct vsh_forward *forward, const struct forward_target *target,
                        const uint8_t *token);
void carriers_free(struct vsh_forward *forward);
