/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/cmdline_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"

/* Does one of the caller's parameters decide key? "panic" is decided by "panic" and
 * "panic=5", also when several stand in one string. */
static bool
decides(const struct cmdline_input *in, const char *key)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < in->nparams; i++) {
        const char *at = in->params[i];

        while (*at) {
            at += strspn(at, " ");
            if (strncmp(at, key, len) == 0 &&
                (at[len] == '\0' || at[len] == ' ' || at[len] == '='))
                return true;
            at += strcspn(at, " ");
        }
    }
    return false;
}

static int
add(struct vmt_buf *line, const char *param)
{
    int r = line->len && *param ? vmt_buf_append(line, " ", 1) : 0;

    return r < 0 ? r : vmt_buf_append(line, param, strlen(param));
}

static int
add_unless(struct vmt_buf *line, const struct cmdline_input *in, const char *key,
           const char *param)
{
    return decides(in, key) ? 0 : add(line, param);
}

static int
add_root(struct vmt_buf *line, const struct cmdline_input *in)
{
    int r = 0;

    if (in->baguette)
        return add(line, "root=/dev/vdb rw net.ifnames=0 systemd.log_color=0");
    if (!in->has_root || decides(in, "root"))
        return 0;
    r = add(line, "root=/dev/vda");
    if (r == 0 && !decides(in, "ro") && !decides(in, "rw"))
        r = add(line, in->writable_root ? "rw" : "ro");
    return r;
}

/* A kernel that panics reboots at once, which ends the VM instead of leaving it hung. The
 * timer of a PC is tested by waiting for its interrupts: on a host that has other things
 * to do an emulated one fails, and the kernel panics ("IO-APIC + timer doesn't work!";
 * Linux v6.1, arch/x86/kernel/apic/io_apic.c, check_timer). The last parameter is the
 * original's: user space may log without a rate limit. */
static int
add_defaults(struct vmt_buf *line, const struct cmdline_input *in)
{
    int r = add_unless(line, in, "console", "console=ttyS0");

    if (r == 0)
        r = add_unless(line, in, "panic", "panic=-1");
    if (r == 0)
        r = add_unless(line, in, "no_timer_check", "no_timer_check");
    if (r == 0 && !decides(in, "loglevel") && !decides(in, "debug") &&
        !decides(in, "ignore_loglevel"))
        r = add_unless(line, in, "quiet", "quiet");
    if (r == 0 && !in->baguette)
        r = add_unless(line, in, "net.ifnames", "net.ifnames=0");
    if (r == 0)
        r = add_root(line, in);
    if (r == 0)
        r = add_unless(line, in, "printk.devkmsg", "printk.devkmsg=on");
    return r;
}

static int
check(const char *param, struct vmt_err *err)
{
    for (const char *p = param; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return vmt_err_setx(err, EINVAL,
                                "a kernel parameter holds a control character");
    return 0;
}

int
cmdline_make(const struct cmdline_input *in, char **ret_cmdline, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf line = {0};
    int r = 0;

    for (size_t i = 0; i < in->nparams; i++) {
        r = check(in->params[i], err);
        if (r < 0)
            return r;
        if (add(&line, in->params[i]) < 0)
            return vmt_err_set(err, ENOMEM, "make the kernel command line");
    }
    if (add_defaults(&line, in) < 0)
        return vmt_err_set(err, ENOMEM, "make the kernel command line");
    if (line.len > CMDLINE_MAX)
        return vmt_err_setx(err, EINVAL,
                            "the kernel command line has %zu bytes, more than the %d "
                            "that a kernel takes",
                            line.len, CMDLINE_MAX);
    *ret_cmdline = strndup((const char *)line.data, line.len);
    return *ret_cmdline ? 0 : vmt_err_set(err, ENOMEM, "make the kernel command line");
}
