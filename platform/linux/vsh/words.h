/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/words.h - "NAME=VALUE... COMMAND ARG..." of a command line. */
#pragma once

#include <stddef.h>

#include "core/vsh/message.h"

struct vmt_err;

struct vsh_words {
    struct vsh_env *env; /* owned list */
    size_t nenv;
    char **names;            /* owned, nenv of them or NULL: what env's names point to */
    const char *const *argv; /* borrowed */
    size_t argc;
};

/* Split leading NAME=VALUE words off args, nargs borrowed strings. A name is a letter or
 * underscore and then letters, digits and underscores; the value may be empty and may
 * hold more equals signs. The rest is the command. TERM of our own environment, if set,
 * comes first in the list, so that a TERM=... word overrides it. Returns 0 or -ENOMEM. */
int vsh_words_split(char *const *args, size_t nargs, struct vsh_words *ret_words,
                    struct vmt_err *err);
void vsh_words_done(struct vsh_words *words);
