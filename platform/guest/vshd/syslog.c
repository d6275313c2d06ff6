/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/syslog.h"

#include <fcntl.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

#include "core/base/log.h"

static int kmsg_fd = -1;

/* The kernel takes one record per write; see Documentation/ABI/testing/dev-kmsg. */
static void
kmsg_sink(void *arg, enum vmt_log_level level, const char *line)
{
    char record[1100];
    int n = snprintf(record, sizeof(record), "<%d>%s: %s\n", (int)level, "vshd", line);

    (void)arg;
    if (n > 0 && write(kmsg_fd, record, (size_t)n) < 0)
        return; /* there is nowhere left to complain */
}

static void
syslog_sink(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    syslog((int)level, "%s", line);
}

void
guest_log_init(bool kmsg)
{
    if (kmsg)
        kmsg_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (kmsg_fd >= 0) {
        vmt_log_init("vshd", kmsg_sink, NULL);
        return;
    }
    openlog("vshd", LOG_PID | LOG_PERROR, LOG_DAEMON);
    vmt_log_init("vshd", syslog_sink, NULL);
}
