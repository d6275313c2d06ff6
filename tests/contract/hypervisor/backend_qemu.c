/* SPDX-License-Identifier: BSD-3-Clause */
/* Real QEMU without KVM, with the kernel of VMT_TEST_KERNEL and an initrd of one file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "hypervisor/qemu/qemu.h"
#include "platform/linux/os/loop.h"
#include "tests/contract/hypervisor/suite.h"
#include "tests/unit/test.h"

static struct hypervisor *
qemu_open(struct suite *s)
{
    const struct qemu_config config = {.base = os_loop_base(s->loop),
                                       .clock = s->clock,
                                       .spawn = s->spawn,
                                       .probe_accel = HYPERVISOR_ACCEL_TCG};
    struct hypervisor *hv = NULL;

    assert_int_equal(qemu_new(&config, &hv, NULL), 0);
    return hv;
}

static void
send_signal(struct suite *s, int sig)
{
    struct spawn_id id;

    s->hv->ops->id(s->vm, &id);
    assert_int_equal(kill(id.pid, sig), 0);
}

static void
qemu_freeze(struct suite *s)
{
    send_signal(s, SIGSTOP);
}

static void
qemu_murder(struct suite *s)
{
    send_signal(s, SIGKILL);
}

/* One entry of a cpio archive. Source: Linux,
 * Documentation/driver-api/early-userspace/buffer-format.rst: "newc", everything padded
 * to 4 bytes. */
static bool
cpio_add(FILE *to, const char *name, unsigned mode, const char *data, size_t size)
{
    static const char zeroes[4] = "";
    size_t name_size = strlen(name) + 1;

    if (fprintf(to, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x%s%c", 0,
                mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0, name, 0) < 0)
        return false;
    return fwrite(zeroes, 1, -(110 + name_size) % 4, to) == -(110 + name_size) % 4 &&
           fwrite(data, 1, size, to) == size &&
           fwrite(zeroes, 1, -size % 4, to) == -size % 4;
}

/* Copy a file of the host into the archive. */
static bool
cpio_add_file(FILE *to, const char *name, unsigned mode, const char *path)
{
    int in = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *data = NULL;
    bool ok = in >= 0 && fstat(in, &st) == 0 && (data = malloc((size_t)st.st_size)) &&
              read(in, data, (size_t)st.st_size) == st.st_size &&
              cpio_add(to, name, mode, data, (size_t)st.st_size);

    free(data);
    if (in >= 0)
        close(in);
    return ok;
}

/* The drivers that guest_devices.c loads, where the kernel's build has them as modules.
 */
static bool
cpio_add_modules(FILE *to, const char *dir)
{
    static const char *const paths[] = {
        "drivers/virtio/virtio.ko",
        "drivers/virtio/virtio_ring.ko",
        "drivers/virtio/virtio_pci_legacy_dev.ko",
        "drivers/virtio/virtio_pci_modern_dev.ko",
        "drivers/virtio/virtio_pci.ko",
        "drivers/virtio/virtio_balloon.ko",
        "drivers/block/virtio_blk.ko",
        "net/core/failover.ko",
        "drivers/net/net_failover.ko",
        "drivers/net/virtio_net.ko",
        "drivers/usb/common/usb-common.ko",
        "drivers/usb/core/usbcore.ko",
        "drivers/usb/host/xhci-hcd.ko",
        "drivers/usb/host/xhci-pci.ko",
    };

    for (size_t i = 0; dir && i < sizeof(paths) / sizeof(paths[0]); i++) {
        char path[512];

        (void)snprintf(path, sizeof(path), "%s/kernel/%s", dir, paths[i]);
        if (access(path, R_OK) == 0 &&
            !cpio_add_file(to, strrchr(path, '/') + 1, S_IFREG | 0644, path))
            return false;
    }
    return true;
}

/* An archive with our guest as /init and drivers beside it, in memory; -1 on failure. */
static int
make_initrd(void)
{
    int fd = memfd_create("initrd", MFD_CLOEXEC), copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    FILE *to = fdopen(copy, "w");
    bool ok = to && cpio_add_file(to, "init", S_IFREG | 0755, VMT_GUEST_INIT) &&
              cpio_add_modules(to, getenv("VMT_TEST_MODULES")) &&
              cpio_add(to, "TRAILER!!!", 0, "", 0);

    if (to)
        ok = fclose(to) == 0 && ok;
    return ok ? fd : -1;
}

int
main(void)
{
    const char *kernel = getenv("VMT_TEST_KERNEL");
    struct suite_backend backend = {
        .open = qemu_open,
        .freeze = qemu_freeze,
        .murder = qemu_murder,
        .probed = HYPERVISOR_ACCEL_KVM, /* the real accelerator's stand-in came up */
        .console_text = "guest is up",
        .firmware = "/usr/share/OVMF/OVMF_CODE_4M.fd", /* package ovmf */
        .variables = "/usr/share/OVMF/OVMF_VARS_4M.fd",
        .firmware_text = "BdsDxe",
        .usb_null_result = -EIO, /* no device of usbfs */
    };

    if (!kernel) {
        printf("no kernel: VMT_TEST_KERNEL is unset\n");
        return 77;
    }
    if (!getenv("VMT_TEST_MODULES")) {
        printf("no modules: VMT_TEST_MODULES is unset\n");
        return 77;
    }
    backend.kernel_fd = open(kernel, O_RDONLY | O_CLOEXEC);
    if (backend.kernel_fd < 0) {
        printf("no kernel: %s: %s\n", kernel, strerror(errno));
        return 77;
    }
    backend.initrd_fd = make_initrd();
    if (backend.initrd_fd < 0) {
        perror("make an initrd");
        return 1;
    }
    return suite_run(&backend);
}
