/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/extra.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/resource.h>

#include "core/base/cleanup.h"

struct proc_extra *
proc_extra_new(void)
{
    return calloc(1, sizeof(struct proc_extra));
}

void
proc_extra_free(struct proc_extra *extra)
{
    if (!extra)
        return;
    free(extra->cwd);
    free(extra->user);
    free(extra->group);
    free(extra);
}

int
proc_rlimit_find(const char *name)
{
    static const struct {
        const char *name;
        int resource;
    } rows[] = {
        {"as", RLIMIT_AS},
        {"core", RLIMIT_CORE},
        {"cpu", RLIMIT_CPU},
        {"data", RLIMIT_DATA},
        {"fsize", RLIMIT_FSIZE},
        {"locks", RLIMIT_LOCKS},
        {"memlock", RLIMIT_MEMLOCK},
        {"msgqueue", RLIMIT_MSGQUEUE},
        {"nice", RLIMIT_NICE},
        {"nofile", RLIMIT_NOFILE},
        {"nproc", RLIMIT_NPROC},
        {"rss", RLIMIT_RSS},
        {"rtprio", RLIMIT_RTPRIO},
        {"rttime", RLIMIT_RTTIME},
        {"sigpending", RLIMIT_SIGPENDING},
        {"stack", RLIMIT_STACK},
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++)
        if (strcasecmp(name, rows[i].name) == 0)
            return rows[i].resource;
    return -1;
}
