/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's root: a plain Debian from mmdebstrap, our tools, and the kernel's modules,
 * packed as squashfs. No step needs root: the tree only ever exists inside archives. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/paths.h"

#define ROOTFS_EPOCH "1700000000" /* IMAGE_EPOCH as text */

/* What a shell in a VM is expected to have, and nothing that starts by itself. */
static const char rootfs_packages[] =
    "ca-certificates,iproute2,iputils-ping,kmod,less,netbase,procps";

/* Documentation and translations are two thirds of a small Debian. */
static const char *const rootfs_dpkg_options[] = {
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
};

/* Folders of modules that a VM, or containers in it, can use. All of Debian's would be
 * four times the size of the rest of the image. */
static const char *const rootfs_module_dirs[] = {
    "kernel/arch/x86/crypto",
    "kernel/crypto",
    "kernel/drivers/acpi",
    "kernel/drivers/block",
    "kernel/drivers/char/hw_random",
    "kernel/drivers/input",
    "kernel/drivers/misc/pvpanic",
    "kernel/drivers/net/bonding",
    "kernel/drivers/net/wireguard",
    "kernel/drivers/usb/class",
    "kernel/drivers/usb/common",
    "kernel/drivers/usb/core",
    "kernel/drivers/usb/serial",
    "kernel/drivers/usb/storage",
    "kernel/drivers/virtio",
    "kernel/fs/9p",
    "kernel/fs/btrfs",
    "kernel/fs/erofs",
    "kernel/fs/ext4",
    "kernel/fs/fat",
    "kernel/fs/fscache",
    "kernel/fs/fuse",
    "kernel/fs/isofs",
    "kernel/fs/jbd2",
    "kernel/fs/netfs",
    "kernel/fs/nls",
    "kernel/fs/overlayfs",
    "kernel/fs/squashfs",
    "kernel/fs/xfs",
    "kernel/lib",
    "kernel/net/802",
    "kernel/net/8021q",
    "kernel/net/9p",
    "kernel/net/bridge",
    "kernel/net/core",
    "kernel/net/ipv4",
    "kernel/net/ipv6",
    "kernel/net/llc",
    "kernel/net/netfilter",
    "kernel/net/sched",
    "kernel/net/vmw_vsock",
};
static const char *const rootfs_module_files[] = {
    "kernel/block/t10-pi.ko", /* sd_mod needs it */
    "kernel/drivers/hid/hid-generic.ko",
    "kernel/drivers/hid/hid.ko",
    "kernel/drivers/hid/usbhid/usbhid.ko",
    "kernel/drivers/net/dummy.ko",
    "kernel/drivers/net/macvlan.ko",
    "kernel/drivers/net/net_failover.ko",
    "kernel/drivers/net/tun.ko",
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/virtio_net.ko",
    "kernel/drivers/net/vxlan/vxlan.ko",
    "kernel/drivers/scsi/scsi_common.ko",
    "kernel/drivers/scsi/scsi_mod.ko",
    "kernel/drivers/scsi/sd_mod.ko",
    "kernel/drivers/usb/host/xhci-hcd.ko",
    "kernel/drivers/usb/host/xhci-pci.ko",
    "kernel/drivers/watchdog/i6300esb.ko",
    "kernel/fs/mbcache.ko",
    "kernel/drivers/net/macvtap.ko",
    "modules.builtin",
    "modules.builtin.modinfo",
    "modules.order",
};

const char *
image_rootfs_recipe(void)
{
    return rootfs_packages;
}

static int
base_key(const struct image_rootfs *rootfs, char ret_hex[IMAGE_DIGEST_HEX],
         struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    int n = asprintf(&text, "1 %s %s %s %ld", rootfs->suite,
                     rootfs->mirror ? rootfs->mirror : "", rootfs_packages, IMAGE_EPOCH);

    if (n < 0)
        return vmt_err_set(err, ENOMEM, "name the base");
    return image_digest_text(text, (size_t)n, ret_hex, err);
}

static int
base_debootstrap(const struct image_rootfs *rootfs, const char *tar, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    int r;

    vmt_argv_add(&argv, "env");
    vmt_argv_add(&argv, "SOURCE_DATE_EPOCH=" ROOTFS_EPOCH);
    vmt_argv_add(&argv, "mmdebstrap");
    vmt_argv_add(&argv, "--variant=minbase");
    vmt_argv_add(&argv, "--format=tar");
    vmt_argv_addf(&argv, "--include=%s", rootfs_packages);
    vmt_argv_add(&argv, "--aptopt=Apt::Install-Recommends \"false\"");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rootfs_dpkg_options); i++)
        vmt_argv_add(&argv, rootfs_dpkg_options[i]);
    vmt_argv_add(&argv, rootfs->suite);
    vmt_argv_add(&argv, tar);
    if (rootfs->mirror)
        vmt_argv_add(&argv, rootfs->mirror);
    r = vmt_argv_finish(&argv, err);
    if (r < 0)
        return r;
    return image_run((const char *const *)argv.v, NULL, NULL, err);
}

int
image_rootfs_base(const struct image_rootfs *rootfs, char **ret_tar, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *tar = NULL;
    VMT_CLEANUP(vmt_freep) char *partial = NULL;
    char key[IMAGE_DIGEST_HEX];
    int r = base_key(rootfs, key, err);

    if (r < 0)
        return r;
    if (asprintf(&tar, "%s/base-%.16s.tar", rootfs->cache_dir, key) < 0 ||
        asprintf(&partial, "%s.partial", tar) < 0)
        return vmt_err_set(err, ENOMEM, "make Debian root");
    if (rootfs->refresh || access(tar, R_OK) < 0) {
        (void)unlink(partial);
        r = base_debootstrap(rootfs, partial, err);
        if (r < 0) {
            (void)unlink(partial);
            return vmt_err_wrap(err, r, "make the Debian root (is there a network?)");
        }
        if (rename(partial, tar) < 0)
            return vmt_err_set(err, errno, "rename %s", partial);
    }
    *ret_tar = vmt_take_ptr(&tar);
    return 0;
}

/* Link or copy one path of the module tree into the staging tree. */
static int
stage_copy(const char *from_dir, const char *to_dir, const char *name,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *from = NULL;
    VMT_CLEANUP(vmt_freep) char *to = NULL;
    VMT_CLEANUP(vmt_freep) char *parent = NULL;
    int r;

    if (asprintf(&from, "%s/%s", from_dir, name) < 0 ||
        asprintf(&to, "%s/%s", to_dir, name) < 0)
        return vmt_err_set(err, ENOMEM, "stage modules");
    if (access(from, F_OK) < 0)
        return 0; /* another kernel, another set of folders */
    parent = strdup(to);
    if (!parent)
        return vmt_err_set(err, ENOMEM, "stage modules");
    *strrchr(parent, '/') = '\0';
    r = os_mkdir_p(parent, 0755, err);
    if (r < 0)
        return r;
    return image_run((const char *const[]){"cp", "-al", from, to, NULL}, NULL, NULL, err);
}

static int
stage_modules(const struct image_rootfs *rootfs, const char *stage, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *from = NULL;
    VMT_CLEANUP(vmt_freep) char *to = NULL;
    int r = 0;

    if (asprintf(&from, "%s/lib/modules/%s", rootfs->kernel_dir, rootfs->release) < 0 ||
        asprintf(&to, "%s/lib/modules/%s", stage, rootfs->release) < 0)
        return vmt_err_set(err, ENOMEM, "stage modules");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rootfs_module_dirs) && r == 0; i++)
        r = stage_copy(from, to, rootfs_module_dirs[i], err);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rootfs_module_files) && r == 0; i++)
        r = stage_copy(from, to, rootfs_module_files[i], err);
    if (r < 0)
        return r;
    return image_run(
        (const char *const[]){"/sbin/depmod", "-b", stage, rootfs->release, NULL}, NULL,
        NULL, err);
}

/* What the base has and the image must not: traces of the build host, and what we
 * replace. */
static bool
base_dropped(const char *name)
{
    static const char *const dropped[] = {"etc/resolv.conf", "etc/hostname", "etc/hosts",
                                          "etc/machine-id"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(dropped); i++) {
        if (strcmp(name, dropped[i]) == 0)
            return true;
    }
    /* The kernel fills /dev; apt's caches are the guest's to fetch. */
    return vmt_str_has_prefix(name, "dev/") ||
           vmt_str_has_prefix(name, "var/cache/apt/") ||
           vmt_str_has_prefix(name, "var/lib/apt/lists/") ||
           vmt_str_has_prefix(name, "var/log/");
}

static int
copy_entry(struct archive *in, struct archive *out, struct archive_entry *e,
           struct vmt_err *err)
{
    const void *data;
    size_t len;
    la_int64_t at;
    int r;

    if (archive_write_header(out, e) != ARCHIVE_OK)
        return image_archive_error(out, err, "pack root");
    while ((r = archive_read_data_block(in, &data, &len, &at)) == ARCHIVE_OK) {
        if (archive_write_data(out, data, len) != (la_ssize_t)len)
            return image_archive_error(out, err, "pack root");
    }
    return r == ARCHIVE_EOF ? 0 : image_archive_error(in, err, "read base");
}

static int
copy_base(const char *base_tar, struct archive *out, struct vmt_err *err)
{
    struct archive *in = archive_read_new();
    struct archive_entry *e;
    int r = 0;

    if (!in)
        return vmt_err_set(err, ENOMEM, "read %s", base_tar);
    (void)archive_read_support_format_tar(in);
    if (archive_read_open_filename(in, base_tar, 65536) != ARCHIVE_OK)
        r = image_archive_error(in, err, base_tar);
    while (r == 0 && archive_read_next_header(in, &e) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(e);

        if (vmt_str_has_prefix(name, "./"))
            name += 2;
        if (*name != '\0' && !base_dropped(name))
            r = copy_entry(in, out, e, err);
    }
    if (r == 0 && archive_errno(in) != 0)
        r = image_archive_error(in, err, base_tar);
    (void)archive_read_free(in);
    return r;
}

static int
add_tool(const struct image_rootfs *rootfs, struct archive *out, const char *tool,
         struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *name = NULL;
    VMT_CLEANUP(vmt_freep) char *source = NULL;

    if (asprintf(&name, "./usr/lib/vm_tools/%s", tool) < 0 ||
        asprintf(&source, "%s/%s", rootfs->guest_dir, tool) < 0)
        return vmt_err_set(err, ENOMEM, "add %s", tool);
    return image_archive_file(out, name, source, 0755, err);
}

static int
add_ours(const struct image_rootfs *rootfs, struct archive *out, const char *stage,
         struct vmt_err *err)
{
    static const char *const dirs[] = {
        /* a mount point that is missing is made at every boot, in the overlay */
        "./dev",          "./etc/maitred",      "./mnt/external",    "./mnt/shared",
        "./mnt/stateful", "./usr/lib/vm_tools", "./usr/lib/modules",
    };
    VMT_CLEANUP(vmt_freep) char *modules = NULL;
    int r = 0;

    if (asprintf(&modules, "%s/lib/modules", stage) < 0)
        return vmt_err_set(err, ENOMEM, "pack root");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(dirs) && r == 0; i++)
        r = image_archive_dir(out, dirs[i], 0755, err);
    if (r == 0)
        r = add_tool(rootfs, out, "maitred", err);
    if (r == 0)
        r = add_tool(rootfs, out, "vshd", err);
    if (r == 0)
        r = image_archive_symlink(out, "./etc/resolv.conf", "/run/resolv.conf", err);
    if (r == 0)
        r = image_archive_data(out, "./etc/hostname", "vm\n", 3, 0644, err);
    if (r == 0)
        r = image_archive_data(out, "./etc/hosts", "127.0.0.1 localhost vm\n", 23, 0644,
                               err);
    return r < 0 ? r : image_archive_tree(out, "./usr/lib/modules", modules, err);
}

static int
pack(const struct image_rootfs *rootfs, const char *base_tar, const char *stage, int fd,
     struct vmt_err *err)
{
    struct archive *out = archive_write_new();
    int r;

    if (!out)
        return vmt_err_set(err, ENOMEM, "pack root");
    (void)archive_write_set_format_pax_restricted(out);
    if (archive_write_open_fd(out, fd) != ARCHIVE_OK)
        r = image_archive_error(out, err, "pack root");
    else
        r = copy_base(base_tar, out, err);
    if (r == 0)
        r = add_ours(rootfs, out, stage, err);
    if (archive_write_close(out) != ARCHIVE_OK && r == 0)
        r = image_archive_error(out, err, "pack root");
    (void)archive_write_free(out);
    return r;
}

static int
squash(const struct image_rootfs *rootfs, const char *base_tar, const char *stage,
       const char *path, struct vmt_err *err)
{
    /* lz4: what emulated guests unpack fastest. Fixed times and, by the user namespace,
     * root as the owner of the top folder whoever builds: the same input gives the same
     * bytes. (In tar mode mksquashfs 4.5 takes that owner from the caller and ignores
     * -root-uid.) */
    const char *const argv[] = {
        "unshare",      "--map-root-user", "mksquashfs", "-",    path,
        "-tar",         "-noappend",       "-comp",      "lz4",  "-quiet",
        "-no-progress", "-no-exports",     "-root-mode", "0755", "-mkfs-time",
        ROOTFS_EPOCH,   "-all-time",       ROOTFS_EPOCH, NULL,
    };
    const char *const *tool = geteuid() == 0 ? argv + 2 : argv;
    struct image_pipe pipe;
    struct vmt_err late = {0};
    int r, closed;

    r = image_pipe_start(tool, &pipe, err);
    if (r < 0)
        return r;
    r = pack(rootfs, base_tar, stage, pipe.in, err);
    closed = image_pipe_finish(&pipe, &late);
    if (closed < 0 && err)
        *err = late; /* the tool's own words say more than our broken pipe */
    return closed < 0 ? closed : r;
}

int
image_rootfs_write(const struct image_rootfs *rootfs, const char *base_tar,
                   const char *path, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *stage = NULL;
    int r, removed;

    if (asprintf(&stage, "%s.stage", path) < 0)
        return vmt_err_set(err, ENOMEM, "make root");
    r = stage_modules(rootfs, stage, err);
    if (r == 0)
        r = squash(rootfs, base_tar, stage, path, err);
    removed = os_remove_tree(stage, r == 0 ? err : NULL);
    return r < 0 ? r : removed;
}
