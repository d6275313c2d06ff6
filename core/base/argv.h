/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/argv.h - a NULL-terminated argument vector that is built step by step. */
#pragma once

#include <stddef.h>

struct vmt_err;

/* All zeroes is an empty vector. A failed add sticks; vmt_argv_finish reports it. */
struct vmt_argv {
    char **v; /* owned, n strings and a NULL; NULL while empty */
    size_t n;
    size_t cap;
    int status; /* 0 or the negative errno of the first failed add */
};

/* Append a copy of arg. */
void vmt_argv_add(struct vmt_argv *argv, const char *arg);
void vmt_argv_addf(struct vmt_argv *argv, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* 0 when every add succeeded; else -ENOMEM, and the vector is empty again. */
int vmt_argv_finish(struct vmt_argv *argv, struct vmt_err *err);

/* Release all and make the vector empty. */
void vmt_argv_done(struct vmt_argv *argv);
