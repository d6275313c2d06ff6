/* SPDX-License-Identifier: BSD-3-Clause */
/* Source of the options: Linux, Documentation/filesystems/9p.rst. */
#include "platform/guest/maitred/rpc/share.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"

/* The kernel's default of 128 KiB costs a round trip for each; the server may say less.
 */
#define MSIZE_DEFAULT 262144u
#define MSIZE_MIN 4096u /* less is refused by the kernel */
#define MSIZE_MAX 1048576u
#define NAME_MAX_9P 100u
#define UID_DIGITS 10u
#define DIGITS "0123456789"

/* A comma begins the next option, and mount takes no escape for it. */
static int
check_name(const char *what, const char *text, struct vmt_err *err)
{
    if (strlen(text) > NAME_MAX_9P)
        return vmt_err_setx(err, EINVAL, "the %s has more than %u bytes", what,
                            NAME_MAX_9P);
    for (; *text; text++)
        if (*text == ',' || (unsigned char)*text < ' ' || *text == 0x7f)
            return vmt_err_setx(err, EINVAL, "the %s has a comma or control character",
                                what);
    return 0;
}

static bool
is_access(const char *text)
{
    size_t n = strlen(text);

    return n == 0 || strcmp(text, "any") == 0 || strcmp(text, "user") == 0 ||
           strcmp(text, "client") == 0 || (n <= UID_DIGITS && strspn(text, DIGITS) == n);
}

static int
check(const struct share_setup *setup, struct vmt_err *err)
{
    int r = check_name("aname", setup->aname, err);

    if (r == 0)
        r = check_name("uname", setup->uname, err);
    if (r < 0)
        return r;
    if (!is_access(setup->access))
        return vmt_err_setx(err, EINVAL, "access is neither any, user, client nor a uid");
    if (setup->msize && (setup->msize < MSIZE_MIN || setup->msize > MSIZE_MAX))
        return vmt_err_setx(err, EINVAL, "an msize of %u is not within %u to %u",
                            setup->msize, MSIZE_MIN, MSIZE_MAX);
    return 0;
}

/* The names are short: all fits. */
static void __attribute__((format(printf, 2, 3)))
add(char out[SHARE_OPTIONS_MAX], const char *fmt, ...)
{
    size_t n = strlen(out);
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(out + n, SHARE_OPTIONS_MAX - n, fmt, args);
    va_end(args);
}

int
share_format(const struct share_setup *setup, int fd, char out[SHARE_OPTIONS_MAX],
             struct vmt_err *err)
{
    int r = check(setup, err);

    if (r < 0)
        return r;
    out[0] = '\0';
    add(out, "trans=fd,rfdno=%d,wfdno=%d,cache=none,access=%s,version=9p2000.L,msize=%u",
        fd, fd, setup->access[0] ? setup->access : "any",
        setup->msize ? setup->msize : MSIZE_DEFAULT);
    if (setup->has_uid)
        add(out, ",dfltuid=%u", setup->uid);
    if (setup->has_gid)
        add(out, ",dfltgid=%u", setup->gid);
    if (setup->aname[0])
        add(out, ",aname=%s", setup->aname);
    if (setup->uname[0])
        add(out, ",uname=%s", setup->uname);
    return 0;
}
