/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/report.h"

#define CONTROLLERS_MAX 1024

int
cgroup_open_guest(struct report *report)
{
    int fd = -1;

    if (mkdir(CGROUP_GUEST, 0755) == 0 || errno == EEXIST)
        fd = open(CGROUP_GUEST, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        report_degraded(report, "make " CGROUP_GUEST ": %s", strerror(errno));
    return fd;
}

/* One controller at a time: one that the kernel refuses must not cost the others. */
void
cgroup_enable(struct report *report)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char *name, *save = NULL;

    if (file_read(CGROUP_ROOT "/cgroup.controllers", CONTROLLERS_MAX, &text) < 0)
        return; /* its mount is in the report already */
    for (name = strtok_r(text, " \n", &save); name; name = strtok_r(NULL, " \n", &save)) {
        char word[64];
        int r;

        (void)snprintf(word, sizeof(word), "+%s", name);
        r = file_write(CGROUP_ROOT "/cgroup.subtree_control", word);
        if (r < 0)
            report_degraded(report, "enable cgroup controller %s: %s", name,
                            strerror(-r));
    }
}
