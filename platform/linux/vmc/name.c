/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/name.c - what VMs and disks may be called. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "platform/linux/vmc/vmc.h"

int
vmc_name_check(const char *name, struct vmt_err *err)
{
    char safe[128];

    if (*name == '\0')
        return vmt_err_setx(err, EINVAL, "the name is empty");
    if (*name == '-')
        return vmt_err_setx(err, EINVAL, "the name %s would be taken for an option",
                            vmc_escape(safe, sizeof(safe), name));
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("/:", *c))
            return vmt_err_setx(err, EINVAL,
                                "the name \"%s\" has a blank, a slash, a colon or "
                                "another character that names may not have",
                                vmc_escape(safe, sizeof(safe), name));
    return 0;
}
