/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/options.h - command line of vshd. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vmt_err;

struct options {
    uint32_t forward_to_host_port; /* 0: listen */
    bool inherit_env;
    bool allow_to_switch_user;
    bool log_kmsg;
    const char *default_user; /* borrowed from argv */
    const char *listen_unix;  /* borrowed from argv; NULL: listen on vsock */
    bool help, version;
};

/* Returns 0 or -EINVAL. */
int options_parse(int argc, char **argv, struct options *ret_options,
                  struct vmt_err *err);
extern const char options_usage[];
