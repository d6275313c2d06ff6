/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/options.h - the command line of vm_vsock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/log.h"

struct vmt_err;

struct options {
    uint32_t guest_cid;
    int vhost_fd, vsock_fd; /* inherited listening sockets, -1: none */
    int worker_fd;          /* we are a worker, and this is its channel; -1: we are not */
    int journal_fd;         /* of a worker */
    const char *vhost_socket; /* paths to listen at instead; borrowed from argv */
    const char *vsock_socket;
    const char *uds_dir; /* borrowed; NULL: vsock_socket is the prefix */
    enum vmt_log_level log_level;
    bool sandbox;
    bool help, version;
};

extern const char options_usage[];

/* Returns 0 or -EINVAL; err says in one line what is wrong. */
int options_parse(int argc, char **argv, struct options *ret_options,
                  struct vmt_err *err);
