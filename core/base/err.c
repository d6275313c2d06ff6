/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void __attribute__((format(printf, 3, 0)))
err_format(struct vmt_err *err, int code, const char *fmt, va_list ap)
{
    err->code = code;
    (void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

int
vmt_err_set(struct vmt_err *err, int code, const char *fmt, ...)
{
    va_list ap;
    size_t used;

    if (code <= 0)
        code = EINVAL;
    if (!err)
        return -code;
    va_start(ap, fmt);
    err_format(err, code, fmt, ap);
    va_end(ap);
    used = strlen(err->msg);
    (void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", strerror(code));
    return -code;
}

int
vmt_err_setx(struct vmt_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (code <= 0)
        code = EINVAL;
    if (!err)
        return -code;
    va_start(ap, fmt);
    err_format(err, code, fmt, ap);
    va_end(ap);
    return -code;
}

int
vmt_err_wrap(struct vmt_err *err, int code, const char *fmt, ...)
{
    char inner[VMT_ERR_MSG_MAX];
    size_t used;
    va_list ap;

    if (code >= 0)
        code = -EINVAL;
    if (!err)
        return code;
    memcpy(inner, err->msg, sizeof(inner));
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    used = strlen(err->msg);
    (void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", inner);
    if (err->code == 0)
        err->code = -code;
    return code;
}

const char *
vmt_err_text(const struct vmt_err *err)
{
    if (!err || err->msg[0] == '\0')
        return "unknown error";
    return err->msg;
}
