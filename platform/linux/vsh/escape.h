/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/escape.h - the way out of a terminal that takes every key: a
 * character at the beginning of a line, and what follows it, is for us. As people know it
 * from ssh(1). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VSH_ESCAPE_DEFAULT '~'
#define VSH_ESCAPE_NONE (-1)

/* All zeroes but for character: nothing was typed yet. */
struct vsh_escape {
    int character; /* 1 to 255, or VSH_ESCAPE_NONE */
    bool in_line;  /* something was typed since the last end of a line */
    bool pending;  /* the character was typed; the guest has not seen it */
};

enum vsh_escape_action {
    VSH_ESCAPE_NOTHING,
    VSH_ESCAPE_END,     /* character and "." */
    VSH_ESCAPE_HELP,    /* "?" */
    VSH_ESCAPE_SUSPEND, /* Ctrl-Z */
};

/* Take typed bytes up to the first action. What the guest is to get of them is written to
 * out, len + 1 bytes, and *ret_out is how much. Returns how many of data were taken. */
size_t vsh_escape_take(struct vsh_escape *escape, const uint8_t *data, size_t len,
                       uint8_t *out, size_t *ret_out, enum vsh_escape_action *ret_action);

/* The character of an option: one byte, "^X" for a control character, or "none". Returns
 * 0 or -EINVAL. */
int vsh_escape_parse(const char *text, int *ret_character);
