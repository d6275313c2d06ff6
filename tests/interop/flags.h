/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/flags.h - command lines as gRPC's interoperability programs have them:
 * --name=value or --name value, one dash or two; a bool also as --name alone, then
 * true. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flag {
    const char *name; /* without dashes */
    const char *help; /* one line */
    /* Where the value goes: one of the three. Texts are borrowed from argv. */
    const char **text;
    bool *is_set;
    uint16_t *port;
};

/* Read all arguments into the flags. Returns 0; 1 when --help was printed; -EINVAL after
 * a line on stderr: unknown flag, bad value, anything that is no flag. */
int flags_parse(const struct flag *flags, size_t nflags, int argc, char **argv);
