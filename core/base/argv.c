/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/argv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"

static void
argv_push(struct vmt_argv *argv, char *taken)
{
    if (!taken || argv->status < 0) {
        if (argv->status == 0)
            argv->status = -ENOMEM;
        free(taken);
        return;
    }
    if (argv->n + 1 >= argv->cap) {
        size_t cap = argv->cap ? argv->cap * 2 : 16;
        char **grown = realloc(argv->v, cap * sizeof(*grown));

        if (!grown) {
            argv->status = -ENOMEM;
            free(taken);
            return;
        }
        argv->v = grown;
        argv->cap = cap;
    }
    argv->v[argv->n++] = taken;
    argv->v[argv->n] = NULL;
}

void
vmt_argv_add(struct vmt_argv *argv, const char *arg)
{
    argv_push(argv, strdup(arg));
}

void
vmt_argv_addf(struct vmt_argv *argv, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    argv_push(argv, text);
}

int
vmt_argv_finish(struct vmt_argv *argv, struct vmt_err *err)
{
    if (argv->status == 0)
        return 0;
    vmt_argv_done(argv);
    return vmt_err_set(err, ENOMEM, "build argument vector");
}

void
vmt_argv_done(struct vmt_argv *argv)
{
    for (size_t i = 0; i < argv->n; i++)
        free(argv->v[i]);
    free(argv->v);
    memset(argv, 0, sizeof(*argv));
}
