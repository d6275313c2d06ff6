/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/run_escape.c - keys that are for us. */
#include <stdio.h>
#include <string.h>

#include "core/vsh/client.h"
#include "platform/linux/vsh/run_internal.h"

/* In a raw terminal: it does not go back to the first column by itself. */
static void
show_help(struct vsh_run *run)
{
    char text[400], name[3] = {(char)run->escape.character, '\0', '\0'};

    if (run->escape.character < ' ') {
        name[0] = '^';
        name[1] = (char)(run->escape.character | '@');
    }
    (void)snprintf(text, sizeof(text),
                   "%s?\r\n"
                   "At the beginning of a line:\r\n"
                   " %s.   leave the session; its command is told to hang up\r\n"
                   " %s^Z  suspend this program\r\n"
                   " %s?   this text\r\n"
                   " %s%s   send %s itself\r\n",
                   name, name, name, name, name, name, name);
    (void)sink_write(&run->errors, (const uint8_t *)text, strlen(text));
}

static void
act(struct vsh_run *run, enum vsh_escape_action action)
{
    if (action == VSH_ESCAPE_END)
        run_fail(run, VSH_EXIT_LOST, "left the session");
    else if (action == VSH_ESCAPE_HELP)
        show_help(run);
    else if (action == VSH_ESCAPE_SUSPEND)
        run_suspend(run);
}

void
run_typed(struct vsh_run *run, const uint8_t *data, size_t len)
{
    uint8_t out[RUN_TYPED_MAX + 1];

    while (len > 0 && !run->over) {
        enum vsh_escape_action action;
        size_t n, piece = len < RUN_TYPED_MAX ? len : RUN_TYPED_MAX;
        size_t taken = vsh_escape_take(&run->escape, data, piece, out, &n, &action);

        if (n > 0)
            (void)vsh_client_stdin(run->client, out, n);
        act(run, action);
        data += taken;
        len -= taken;
    }
}
