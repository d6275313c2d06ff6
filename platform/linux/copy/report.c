/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "platform/linux/copy/copy_internal.h"

#define COMPLAINTS_SHOWN 20u
#define SHOWN_MAX 512

void
copy_complain(struct copy_side *side, const char *path, int error, const char *what)
{
    char shown[SHOWN_MAX];

    if (side->complaints++ >= COMPLAINTS_SHOWN)
        return;
    (void)vmt_log_escape(shown, sizeof(shown), path, strlen(path));
    /* A progress line may stand there. */
    (void)fprintf(stderr, "%s%s: %s%s: %s%s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "",
                  side->program, side->label, shown, what ? what : "",
                  what && error ? ": " : "", error ? strerror(error) : "");
}

void
copy_complaints_end(const struct copy_side *side)
{
    if (side->complaints > COMPLAINTS_SHOWN)
        (void)fprintf(stderr, "%s: %zu more could not be copied\n", side->program,
                      side->complaints - COMPLAINTS_SHOWN);
}

void
copy_progress(struct copy_side *side, const char *path)
{
    if (side->on_progress)
        side->on_progress(side->arg, &side->totals, path);
}
