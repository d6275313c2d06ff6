/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/err.h - negative errno plus the words that explain it. */
#pragma once

#include <stdarg.h>

#define VMT_ERR_MSG_MAX 512

/* The cause of a failure. Owned by the outermost caller; needs no release. A message is
 * at most VMT_ERR_MSG_MAX - 1 bytes; what is longer is cut. */
struct vmt_err {
    int code; /* positive errno */
    char msg[VMT_ERR_MSG_MAX];
};

/* Record a first failure: the formatted text, then ": " and the text of the errno code.
 * code is positive. err may be NULL. Returns -code, never 0: a code of 0 counts as
 * EINVAL. */
int vmt_err_set(struct vmt_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same without the errno text, for causes that errno words would only blur. */
int vmt_err_setx(struct vmt_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put what the caller was doing, and ": ", before the message. code is the negative value
 * that was passed up; it is returned unchanged (0 becomes -EINVAL). err may be NULL. */
int vmt_err_wrap(struct vmt_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The text for a log line; never NULL. */
const char *vmt_err_text(const struct vmt_err *err);
