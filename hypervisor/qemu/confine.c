/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/confine.c - what a QEMU that its guest has taken over can still reach.
 *
 * Disks, consoles and control sockets are inherited open. So of the file system QEMU
 * needs its program, its firmware and a few devices; Landlock takes the rest away,
 * signals to other processes and their tracing with it, before QEMU runs. Its own seccomp
 * filter
 * (-sandbox) does not look at paths, and our service file knows one set of paths for all.
 *
 * Source: Linux, Documentation/userspace-api/landlock.rst; rights that a kernel does not
 * know are not asked for. */
#include "hypervisor/qemu/confine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/adapter/hypervisor.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

/* struct landlock_ruleset_attr as of version 6; the header of Debian 12 ends after the
 * first member. */
struct ruleset_attr {
    uint64_t fs;
    uint64_t net;    /* version 4 */
    uint64_t scoped; /* version 6 */
};
#define RIGHT_TRUNCATE (1ull << 14)            /* version 3 */
#define NET_TCP ((1ull << 0) | (1ull << 1))    /* bind, connect */
#define SCOPED_ALL ((1ull << 0) | (1ull << 1)) /* abstract sockets, signals */

/* All of version 1: EXECUTE to MAKE_SYM. */
#define RIGHTS_FIRST (LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1)
#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_RUN (RIGHTS_READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define RIGHTS_DEVICE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)

/* What is not there is left out. */
static const struct {
    const char *path;
    uint64_t rights;
} common[] = {
    {"/usr", RIGHTS_RUN},
    {"/lib", RIGHTS_RUN},
    {"/lib32", RIGHTS_RUN},
    {"/lib64", RIGHTS_RUN},
    {"/bin", RIGHTS_RUN},
    {"/opt", RIGHTS_RUN},
    {"/nix/store", RIGHTS_RUN},
    {"/gnu/store", RIGHTS_RUN},
    {"/etc", RIGHTS_READ},
    {"/proc", RIGHTS_READ},
    {"/sys", RIGHTS_READ},
    /* Where /etc/resolv.conf may lead to, now or later: the user network asks the host's
     * servers. */
    {"/run/systemd/resolve", RIGHTS_READ},
    {"/run/resolvconf", RIGHTS_READ},
    {"/run/NetworkManager", RIGHTS_READ},
    {"/run/connman", RIGHTS_READ},
    /* libusb looks around before it takes a device that was opened for it. */
    {"/run/udev", RIGHTS_READ},
    {"/dev/bus/usb", RIGHTS_READ},
    {"/dev/kvm", RIGHTS_DEVICE},
    {"/dev/vhost-vsock", RIGHTS_DEVICE},
    {"/dev/null", RIGHTS_DEVICE},
    {"/dev/zero", RIGHTS_DEVICE},
    {"/dev/random", RIGHTS_DEVICE},
    {"/dev/urandom", RIGHTS_DEVICE},
};

/* Of a QEMU that was built somewhere else: relative to the folder of the program. */
static const char *const beside[] = {".", "../share", "../lib", "../libexec",
                                     "../pc-bios"};

/* A rule is for all below a folder, or for a file, which takes no rights of folders. */
static int
allow_fd(int ruleset, int fd, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};

    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ==
        0)
        return 0;
    /* Files without a place in any folder, as memfds, are free for all. */
    return errno == EBADFD ? 0 : -errno;
}

static int
allow_path(int ruleset, const char *path, uint64_t rights)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_PATH | O_CLOEXEC);

    return fd < 0 ? 0 : allow_fd(ruleset, fd, rights);
}

/* Where the program is, links followed; false when it is nowhere. */
static bool
find_program(const char *binary, char real[static PATH_MAX])
{
    const char *dirs = getenv("PATH");
    char path[PATH_MAX];

    if (strchr(binary, '/'))
        return realpath(binary, real) != NULL;
    for (const char *end; dirs; dirs = *end ? end + 1 : NULL) {
        end = strchrnul(dirs, ':');
        (void)snprintf(path, sizeof(path), "%.*s/%s", (int)(end - dirs), dirs, binary);
        if (access(path, X_OK) == 0)
            return realpath(path, real) != NULL;
    }
    return false;
}

/* A program may be anywhere. */
static int
allow_program(int ruleset, const char *binary)
{
    char real[PATH_MAX], path[PATH_MAX + 16];
    int r = 0;

    if (!find_program(binary, real))
        return 0; /* the start says what is wrong */
    r = allow_path(ruleset, real, RIGHTS_RUN & ~LANDLOCK_ACCESS_FS_READ_DIR);
    *strrchr(real, '/') = '\0';
    for (size_t i = 0; r == 0 && *real && i < VMT_ARRAY_SIZE(beside); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", real, beside[i]);
        r = allow_path(ruleset, path, RIGHTS_RUN);
    }
    return r;
}

/* The folder, because whoever writes the file puts a new one in its place. */
static int
allow_resolver(int ruleset)
{
    char real[PATH_MAX];

    if (!realpath("/etc/resolv.conf", real))
        return 0;
    *strrchr(real, '/') = '\0';
    return *real ? allow_path(ruleset, real, RIGHTS_READ) : 0;
}

/* The kernel is opened again, by its name below /proc/self/fd. */
static int
allow_files(int ruleset, const struct vm_spec *spec)
{
    int r = 0;

    if (spec->kernel_fd >= 0)
        r = allow_fd(ruleset, spec->kernel_fd, LANDLOCK_ACCESS_FS_READ_FILE);
    if (r == 0 && spec->initrd_fd >= 0)
        r = allow_fd(ruleset, spec->initrd_fd, LANDLOCK_ACCESS_FS_READ_FILE);
    for (size_t i = 0; r == 0 && i < spec->ndisks; i++)
        if (spec->disks[i].path)
            r = allow_path(ruleset, spec->disks[i].path, RIGHTS_DEVICE);
    return r;
}

static int
allow_all(int ruleset, const char *binary, const struct vm_spec *spec)
{
    int r = allow_program(ruleset, binary);

    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(common); i++)
        r = allow_path(ruleset, common[i].path, common[i].rights);
    if (r == 0 && spec->net == HYPERVISOR_NET_USER)
        r = allow_resolver(ruleset);
    return r < 0 ? r : allow_files(ruleset, spec);
}

/* The user network makes connections for its guest; any other QEMU needs none. */
static size_t
attr_fill(struct ruleset_attr *attr, long version, bool is_user_net)
{
    *attr = (struct ruleset_attr){.fs = RIGHTS_FIRST};
    if (version >= 2)
        attr->fs |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        attr->fs |= RIGHT_TRUNCATE;
    if (version >= 4 && !is_user_net)
        attr->net = NET_TCP;
    if (version >= 6)
        attr->scoped = SCOPED_ALL;
    return version >= 6   ? sizeof(*attr)
           : version >= 4 ? offsetof(struct ruleset_attr, scoped)
                          : offsetof(struct ruleset_attr, net);
}

int
qemu_confine(const char *binary, const struct vm_spec *spec, int *ret_fd,
             struct vmt_err *err)
{
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct ruleset_attr attr;
    size_t size;
    int r;

    if (version < 1)
        return -EOPNOTSUPP;
    size = attr_fill(&attr, version, spec->net == HYPERVISOR_NET_USER);
    fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    r = fd < 0 ? -errno : allow_all(fd, binary, spec);
    if (r < 0)
        return vmt_err_set(err, -r, "confine QEMU to its files");
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}
