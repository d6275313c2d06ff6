/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/environment.h - the environment of a session. */
#pragma once

#include "core/base/argv.h"

struct account;
struct vsh_request;

/* Build the NAME=VALUE list of a session: inherited (NULL-terminated, or NULL), then what
 * the account says (HOME, SHELL, USER, LOGNAME), then what the client asked for, which
 * wins; PATH and TERM get a value if they have none after that. Names that cannot be in
 * an environment are left out. Returns 0 or -ENOMEM. */
int environment_build(const char *const *inherited, const struct account *account,
                      const struct vsh_request *request, struct vmt_argv *ret_env);
