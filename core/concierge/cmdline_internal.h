/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/cmdline_internal.h - the guest kernel's command line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct vmt_err;

/* x86 takes 2048 bytes with the NUL (Linux, arch/x86/include/asm/setup.h); other
 * machines take as much or more. */
#define CMDLINE_MAX 2047

struct cmdline_input {
    const char *const *params; /* verbatim and first: what the caller wants, wins */
    size_t nparams;
    bool has_root;      /* a root image is /dev/vda */
    bool writable_root; /* it may be written to */
    bool baguette;      /* its stateful disk is the root, spec 5 */
};

/* Join the parameters and add what a guest here needs and the caller did not decide:
 * console, panic, interface names, root. *ret_cmdline is malloc'ed. Returns 0, -EINVAL
 * for a control character or too long a line, -ENOMEM. */
int cmdline_make(const struct cmdline_input *in, char **ret_cmdline, struct vmt_err *err);
