/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/startup.c - what a process sets right before it does anything. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/str.h"
#include "platform/linux/os/dir.h"
#include "platform/linux/os/loop.h"

void
os_process_init(void)
{
    int fd;

    (void)signal(SIGPIPE, SIG_IGN);
    /* The lowest free number comes back, so this fills the gaps and stops above them. */
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        (void)close(fd);
}

bool
os_signal_is_ignored(int sig)
{
    struct sigaction action;

    return sigaction(sig, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
           action.sa_handler == SIG_IGN;
}

/* Kernels before 5.9 have no close_range. */
static void
close_from_listed(int first)
{
    VMT_CLEANUP(os_closedirp) DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    uint64_t fd;

    while (dir && (entry = readdir(dir))) {
        if (vmt_parse_u64(entry->d_name, INT_MAX, &fd) == 0 && (int)fd >= first &&
            (int)fd != dirfd(dir))
            (void)close((int)fd);
    }
}

void
os_close_from(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) < 0 && errno == ENOSYS)
        close_from_listed(first);
}

void
os_raise_nofile(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}
