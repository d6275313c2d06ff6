/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/check.c - is the installed QEMU one that we can use? */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "hypervisor/qemu/qemu_internal.h"

/* Debian 12's; older ones have not been tried. */
#define QEMU_MAJOR_MIN 7
#define QEMU_MINOR_MIN 2

/* "-device help" has about 30 KiB. */
#define OUTPUT_MAX (256u * 1024)
#define OUTPUT_DEADLINE_MS 20000

extern char **environ;

/* Every device that the command line names. */
static const char *const needed_devices[] = {
    "virtio-blk-pci", "virtio-net-pci",     "vhost-user-vsock-pci",
    "virtio-rng-pci", "virtio-balloon-pci", "pvpanic",
    "pcie-root-port", "qemu-xhci",          "vmgenid",
};

int
qemu_missing(const struct qemu *self, struct vmt_err *err)
{
    return vmt_err_setx(err, ENOENT,
                        "%s is not installed: install it with your package manager "
                        "(Debian, Ubuntu: apt install qemu-system-x86; Fedora: dnf "
                        "install qemu-system-x86-core; Arch: pacman -S qemu-base)",
                        self->binary);
}

static int64_t
now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Read until the writer is gone. Returns 0, -ETIMEDOUT, -EFBIG, -ENOMEM. */
static int
read_all(int fd, struct vmt_buf *out)
{
    int64_t deadline = now_ms() + OUTPUT_DEADLINE_MS;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - now_ms();
        ssize_t n;

        if (left <= 0 || out->len >= OUTPUT_MAX)
            return left <= 0 ? -ETIMEDOUT : -EFBIG;
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        if (vmt_buf_reserve(out, 4096) < 0)
            return -ENOMEM;
        n = read(fd, vmt_buf_tail(out), 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        vmt_buf_commit(out, (size_t)n);
    }
}

static int
spawn_with_output(const struct vmt_argv *argv, int out_fd, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    int r = posix_spawn_file_actions_init(&actions);

    if (r != 0)
        return -r;
    r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, out_fd, 2);
    if (r == 0)
        r = posix_spawnp(ret_pid, argv->v[0], &actions, NULL, argv->v, environ);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

/* Run argv, the binary and its arguments, to its end and collect stdout and stderr as a
 * string. Returns 0, -ENOENT, other errors of exec, or what read_all gave; the process is
 * reaped in any case. */
static int
run(struct vmt_argv *argv, struct vmt_buf *out)
{
    int fds[2];
    pid_t pid = -1;
    int r = vmt_argv_finish(argv, NULL);

    if (r < 0)
        return r;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    r = spawn_with_output(argv, fds[1], &pid);
    (void)close(fds[1]);
    if (r == 0) {
        r = read_all(fds[0], out);
        /* All is said, or too much: it must not keep us by staying with its output
         * closed. */
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        if (r == 0)
            r = vmt_buf_append(out, "", 1);
    }
    (void)close(fds[0]);
    return r;
}

static int
check_version(const struct qemu *self, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};
    unsigned major = 0, minor = 0;
    int r;

    vmt_argv_add(&argv, self->binary);
    vmt_argv_add(&argv, "--version");
    r = run(&argv, &out);

    if (r == -ENOENT)
        return qemu_missing(self, err);
    if (r < 0)
        return vmt_err_set(err, -r, "run %s --version", self->binary);
    if (sscanf((const char *)out.data, "QEMU emulator version %u.%u", &major, &minor) !=
        2)
        return vmt_err_setx(err, ENOTSUP, "%s does not say that it is QEMU",
                            self->binary);
    if (major < QEMU_MAJOR_MIN || (major == QEMU_MAJOR_MIN && minor < QEMU_MINOR_MIN))
        return vmt_err_setx(err, ENOTSUP,
                            "%s is version %u.%u, and %d.%d is needed: install a newer "
                            "QEMU (Debian 12 has 7.2)",
                            self->binary, major, minor, QEMU_MAJOR_MIN, QEMU_MINOR_MIN);
    return 0;
}

static int
check_devices(const struct qemu *self, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};
    int r;

    vmt_argv_add(&argv, self->binary);
    vmt_argv_add(&argv, "-machine");
    vmt_argv_add(&argv, "q35");
    vmt_argv_add(&argv, "-device");
    vmt_argv_add(&argv, "help");
    r = run(&argv, &out);

    if (r < 0 || !out.data)
        return vmt_err_set(err, -r, "run %s -device help", self->binary);
    if (strstr((const char *)out.data, "unsupported machine type"))
        return vmt_err_setx(
            err, ENOTSUP,
            "%s has no machine q35: an emulator of x86-64 is needed (Debian, "
            "Ubuntu: apt install qemu-system-x86)",
            self->binary);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(needed_devices); i++) {
        char word[64];

        (void)snprintf(word, sizeof(word), "\"%s\"", needed_devices[i]);
        if (!strstr((const char *)out.data, word))
            return vmt_err_setx(err, ENOTSUP,
                                "%s has no device %s: install the full system emulator "
                                "(Debian, Ubuntu: apt install qemu-system-x86)",
                                self->binary, needed_devices[i]);
    }
    return 0;
}

int
qemu_check(struct hypervisor *hv, struct vmt_err *err)
{
    const struct qemu *self = VMT_CONTAINER_OF(hv, struct qemu, base);
    int r = check_version(self, err);

    return r < 0 ? r : check_devices(self, err);
}
