/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/priority.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/log.h"

void
priority_set(enum priority priority)
{
    const struct {
        int nice, io;
    } levels[] = {
        [PRIORITY_NORMAL] = {0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 0)},
        [PRIORITY_LOW] = {10, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7)},
        [PRIORITY_IDLE] = {19, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)},
    };

    if (priority == PRIORITY_NORMAL)
        return;
    if (setpriority(PRIO_PROCESS, 0, levels[priority].nice) < 0 ||
        syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, levels[priority].io) < 0)
        vmt_log_debug("cannot lower the priority");
}
