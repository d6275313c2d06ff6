/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/maitred/init/report.h"

#define NDX (MS_NOSUID | MS_NODEV | MS_NOEXEC)

struct mount_entry {
    const char *source, *target, *type;
    unsigned long flags;
    const char *data;
    bool optional; /* not every kernel has it */
};

static const struct mount_entry first[] = {
    {"proc", "/proc", "proc", NDX, NULL, false},
    {"sys", "/sys", "sysfs", NDX, NULL, false},
    {"dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755", false},
};

/* The root has a writable overlay, so /etc and /var need none of their own. */
static const struct mount_entry rest[] = {
    {"run", "/run", "tmpfs", NDX, "mode=0755", false},
};

/* Before the first program runs; the agent itself needs none of them. /tmp may hold
 * programs: installers and build tools of a distribution put some there. */
static const struct mount_entry programs[] = {
    {"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
     "gid=5,mode=0620,ptmxmode=666", false},
    {"shmfs", "/dev/shm", "tmpfs", NDX, NULL, false},
    {"tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, NULL, false},
    {"tmpfs", "/mnt/external", "tmpfs", NDX, "mode=0755", false},
    {"cgroup2", "/sys/fs/cgroup", "cgroup2", NDX, "nsdelegate,memory_recursiveprot",
     false},
};

static const struct mount_entry late[] = {
    {"securityfs", "/sys/kernel/security", "securityfs", NDX, NULL, true},
    {"tracefs", "/sys/kernel/tracing", "tracefs", NDX, NULL, true},
    {"mqueue", "/dev/mqueue", "mqueue", NDX, NULL, true},
};

static const struct {
    const char *target, *path;
} links[] = {
    {"/proc/self/fd", "/dev/fd"},       {"/proc/self/fd/0", "/dev/stdin"},
    {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
    {"/proc/kcore", "/dev/core"},
};

static const char *const open_dirs[] = {"/run/lock", "/run/sshd", "/run/tokens"};

int
mounts_mkdir_p(const char *path, unsigned mode, struct vmt_err *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof(part))
        return vmt_err_set(err, len ? ENAMETOOLONG : EINVAL, "make directory");
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return vmt_err_set(err, errno, "make directory %s", part);
        part[i] = i < len ? '/' : '\0';
    }
    return 0;
}

static void
mount_all(const struct mount_entry *entries, size_t n, struct report *report)
{
    for (size_t i = 0; i < n; i++) {
        const struct mount_entry *m = &entries[i];

        if (mount(m->source, m->target, m->type, m->flags, m->data) == 0)
            continue;
        if (errno == ENOENT && !m->optional) {
            (void)mounts_mkdir_p(m->target, 0755, NULL);
            if (mount(m->source, m->target, m->type, m->flags, m->data) == 0)
                continue;
        }
        if (errno != EBUSY && !m->optional) /* EBUSY: the kernel was there before us */
            report_degraded(report, "mount %s on %s: %s", m->type, m->target,
                            strerror(errno));
    }
}

void
mounts_first(struct report *report)
{
    mount_all(first, VMT_ARRAY_SIZE(first), report);
}

void
mounts_system(struct report *report)
{
    mount_all(rest, VMT_ARRAY_SIZE(rest), report);
}

void
mounts_programs(struct report *report)
{
    mount_all(programs, VMT_ARRAY_SIZE(programs), report);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(open_dirs); i++) {
        if (mkdir(open_dirs[i], 01777) < 0 && errno != EEXIST)
            report_degraded(report, "make %s: %s", open_dirs[i], strerror(errno));
        else
            (void)chmod(open_dirs[i], 01777);
    }
    for (size_t i = 0; i < VMT_ARRAY_SIZE(links); i++) {
        if (symlink(links[i].target, links[i].path) < 0 && errno != EEXIST)
            report_degraded(report, "link %s: %s", links[i].path, strerror(errno));
    }
}

void
mounts_late(struct report *report)
{
    (void)mkdir("/dev/mqueue", 0755);
    mount_all(late, VMT_ARRAY_SIZE(late), report);
}
