/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/escape.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"

#define CONTROL(c) ((uint8_t)((c)&0x1f))

static enum vsh_escape_action
action_of(uint8_t byte)
{
    static const struct {
        uint8_t byte;
        enum vsh_escape_action action;
    } rows[] = {{'.', VSH_ESCAPE_END},
                {'?', VSH_ESCAPE_HELP},
                {CONTROL('Z'), VSH_ESCAPE_SUSPEND}};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++)
        if (rows[i].byte == byte)
            return rows[i].action;
    return VSH_ESCAPE_NOTHING;
}

/* The byte after the character. Returns the action; without one, it and the character are
 * the guest's, but the character typed twice counts once. */
static enum vsh_escape_action
take_second(struct vsh_escape *escape, uint8_t byte, uint8_t *out, size_t *n)
{
    enum vsh_escape_action action = action_of(byte);

    escape->pending = false;
    if (action != VSH_ESCAPE_NOTHING) {
        escape->in_line = false;
        return action;
    }
    out[(*n)++] = (uint8_t)escape->character;
    if (byte != (uint8_t)escape->character)
        out[(*n)++] = byte;
    escape->in_line = byte != '\r' && byte != '\n';
    return action;
}

size_t
vsh_escape_take(struct vsh_escape *escape, const uint8_t *data, size_t len, uint8_t *out,
                size_t *ret_out, enum vsh_escape_action *ret_action)
{
    size_t n = 0, taken = 0;

    *ret_action = VSH_ESCAPE_NOTHING;
    while (taken < len && *ret_action == VSH_ESCAPE_NOTHING) {
        uint8_t byte = data[taken++];

        if (escape->pending) {
            *ret_action = take_second(escape, byte, out, &n);
        } else if (!escape->in_line && byte == escape->character) {
            escape->pending = true;
        } else {
            out[n++] = byte;
            escape->in_line = byte != '\r' && byte != '\n';
        }
    }
    *ret_out = n;
    return taken;
}

int
vsh_escape_parse(const char *text, int *ret_character)
{
    size_t len = strlen(text);

    if (strcmp(text, "none") == 0)
        *ret_character = VSH_ESCAPE_NONE;
    else if (len == 1)
        *ret_character = (uint8_t)text[0];
    else if (len == 2 && text[0] == '^' && CONTROL(text[1]) != 0 && text[1] >= '@')
        *ret_character = CONTROL(text[1]);
    else
        return -EINVAL;
    return 0;
}
