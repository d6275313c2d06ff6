/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsh/forward.h - what -L and -R of a command line mean. */
#pragma once

#include "core/vsh/message.h"

struct vmt_err;

/* Listen here and carry each connection there. */
struct vsh_forward_spec {
    struct vsh_address listen; /* host "": the loopback, "*": every address */
    struct vsh_address connect;
    char *text; /* owned; what the strings above point into */
};

/* Parse "[BIND:]PORT:HOST:HOSTPORT" as ssh(1) has it. Either side may be the absolute
 * path of a unix socket instead: "PORT:/PATH", "/PATH:HOST:HOSTPORT", "/PATH:/PATH". IPv6
 * addresses stand in brackets. The port to listen at may be 0. Returns 0, -EINVAL,
 * -ENOMEM. */
int vsh_forward_parse(const char *text, struct vsh_forward_spec *ret_spec,
                      struct vmt_err *err);
void vsh_forward_spec_done(struct vsh_forward_spec *spec);
