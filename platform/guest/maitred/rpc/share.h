/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/share.h - the options of a 9P mount. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vmt_err;

#define SHARE_OPTIONS_MAX 512u

/* What the host says of a share; "" and 0 stand for our choice. Borrowed. */
struct share_setup {
    const char *aname, *uname;
    const char *access; /* "any", "user", "client", or a uid */
    uint32_t msize;     /* bytes */
    uint32_t uid, gid;
    bool has_uid, has_gid;
};

/* Write the options of mount(2) for a server that is connected by fd. Returns 0 or
 * -EINVAL with words: nothing of the host's may add an option of its own. */
int share_format(const struct share_setup *setup, int fd, char out[SHARE_OPTIONS_MAX],
                 struct vmt_err *err);
