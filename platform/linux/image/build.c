/* SPDX-License-Identifier: BSD-3-Clause */
/* One build: fetch, make the parts in a folder beside the old image, swap. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/monotonic.h"
#include "platform/linux/os/paths.h"

/* Changes when the layout of an image does: old ones are rebuilt. */
#define BUILD_FORMAT 4

/* Kernel package 350 MiB unpacked, base 150 MiB, image 200 MiB, mmdebstrap's own tree. */
#define BUILD_SPACE_MIB 1500u

/* What the kernel must be told to find this root; the rest of its command line is the
 * hypervisor's and the VM's.
 * The second line is what Debian's kernel does at each boot for the sake of hardware, and
 * half a second under emulation: the timer's wiring is tried out, every cipher computes
 * its test vectors, and the services of PCIe ports (native hot-plug, error reports) are
 * set up, while our ports are used by ACPI.
 * Source: Linux v6.1, Documentation/admin-guide/kernel-parameters.txt. */
static const char build_cmdline[] =
    "quiet panic=-1 net.ifnames=0 root=/dev/vda rootfstype=squashfs ro "
    "no_timer_check cryptomgr.notests pcie_ports=compat";

struct build {
    const struct image_build_options *options; /* borrowed */
    struct image_rootfs rootfs;                /* borrows kernel_dir and release */
    char *kernel_dir, *release;                /* owned */
    char *target, *partial, *old;              /* owned */
    int lock;                                  /* owned, held */
};

static void
build_done(struct build *b)
{
    free(b->kernel_dir);
    free(b->release);
    free(b->target);
    free(b->partial);
    free(b->old);
    vmt_closep(&b->lock);
}

static void
step(const struct build *b, const char *text, uint64_t ms)
{
    if (b->options->on_step)
        b->options->on_step(b->options->arg, text, ms);
}

static int
check_host(const struct image_build_options *o, struct vmt_err *err)
{
    struct utsname uts;
    struct statvfs fs;

    if (uname(&uts) == 0 && strcmp(uts.machine, "x86_64") != 0)
        return vmt_err_setx(err, ENOTSUP,
                            "images can be built for x86_64 only, this machine is %s",
                            uts.machine);
    if (statvfs(o->cache_dir, &fs) == 0 &&
        (uint64_t)fs.f_bavail * fs.f_frsize < (uint64_t)BUILD_SPACE_MIB << 20)
        return vmt_err_setx(
            err, ENOSPC, "%s has %llu MiB free, building an image needs %u MiB",
            o->cache_dir, (unsigned long long)(fs.f_bavail * fs.f_frsize) >> 20,
            BUILD_SPACE_MIB);
    return 0;
}

static int
build_paths(struct build *b, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *images = NULL;
    VMT_CLEANUP(vmt_freep) char *lock = NULL;
    const struct image_build_options *o = b->options;
    int r;

    if (strchr(o->name, '/') || o->name[0] == '.' || o->name[0] == '\0')
        return vmt_err_setx(err, EINVAL, "\"%s\" is no name for an image", o->name);
    if (asprintf(&images, "%s/images", o->data_dir) < 0 ||
        asprintf(&b->target, "%s/%s", images, o->name) < 0 ||
        asprintf(&b->partial, "%s/.%s.partial", images, o->name) < 0 ||
        asprintf(&b->old, "%s/.%s.old", images, o->name) < 0 ||
        asprintf(&lock, "%s/image.lock", o->cache_dir) < 0)
        return vmt_err_set(err, ENOMEM, "build image");
    r = os_mkdir_p(images, 0755, err);
    if (r == 0)
        r = os_mkdir_p(o->cache_dir, 0755, err);
    if (r < 0)
        return r;
    b->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (b->lock < 0 || flock(b->lock, LOCK_EX) < 0)
        return vmt_err_set(err, errno, "lock %s", lock);
    return 0;
}

/* Everything that decides about the bytes of the image. */
static int
build_key(struct build *b, char ret_hex[IMAGE_DIGEST_HEX], struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *maitred = NULL;
    VMT_CLEANUP(vmt_freep) char *vshd = NULL;
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char tool[2][IMAGE_DIGEST_HEX];
    int n, r;

    if (asprintf(&maitred, "%s/maitred", b->options->guest_dir) < 0 ||
        asprintf(&vshd, "%s/vshd", b->options->guest_dir) < 0)
        return vmt_err_set(err, ENOMEM, "build image");
    r = image_digest_file(maitred, tool[0], err);
    if (r == 0)
        r = image_digest_file(vshd, tool[1], err);
    if (r < 0)
        return vmt_err_wrap(err, r, "read the guest programs");
    n = asprintf(&text, "%d\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n", BUILD_FORMAT, b->release,
                 tool[0], tool[1], b->options->suite,
                 b->options->mirror ? b->options->mirror : "", image_rootfs_recipe(),
                 build_cmdline);
    if (n < 0)
        return vmt_err_set(err, ENOMEM, "build image");
    return image_digest_text(text, (size_t)n, ret_hex, err);
}

static bool
is_current(const struct build *b, const char *key)
{
    VMT_CLEANUP(image_manifest_done) struct image_manifest m = {0};

    return !b->options->rebuild && !b->options->refresh &&
           image_manifest_load(b->target, &m, NULL) == 0 &&
           strcmp(m.built_with, key) == 0;
}

static int
make_kernel(struct build *b, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *bzimage = NULL;
    VMT_CLEANUP(vmt_freep) char *elf = NULL;

    if (asprintf(&bzimage, "%s/boot/vmlinuz-%s", b->kernel_dir, b->release) < 0 ||
        asprintf(&elf, "%s/kernel", b->partial) < 0)
        return vmt_err_set(err, ENOMEM, "make kernel");
    return image_kernel_extract(bzimage, elf, err);
}

static int
make_initrd(struct build *b, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    VMT_CLEANUP(vmt_freep) char *maitred = NULL;

    if (asprintf(&path, "%s/initrd", b->partial) < 0 ||
        asprintf(&maitred, "%s/maitred", b->options->guest_dir) < 0)
        return vmt_err_set(err, ENOMEM, "make initrd");
    return image_initrd_write(path, maitred, b->kernel_dir, b->release, err);
}

static int
make_root(struct build *b, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *base = NULL;
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    uint64_t begin = os_monotonic_ms();
    int r;

    if (asprintf(&path, "%s/root.squashfs", b->partial) < 0)
        return vmt_err_set(err, ENOMEM, "make root");
    step(b, "Debian packages for the root file system", -1);
    r = image_rootfs_base(&b->rootfs, &base, err);
    if (r < 0)
        return r;
    step(b, "Debian packages for the root file system", os_monotonic_ms() - begin);
    begin = os_monotonic_ms();
    step(b, "root file system", -1);
    r = image_rootfs_write(&b->rootfs, base, path, err);
    if (r == 0)
        step(b, "root file system", os_monotonic_ms() - begin);
    return r;
}

static int
make_manifest(struct build *b, char *key, struct vmt_err *err)
{
    struct image_manifest m = {
        .name = (char *)(uintptr_t)b->options->name, /* borrowed for the call below */
        .kernel_release = b->release,
        .cmdline = (char *)(uintptr_t)build_cmdline,
        .built_with = key,
    };
    int r = 0;

    for (int part = 0; part < IMAGE_PART_COUNT && r == 0; part++) {
        VMT_CLEANUP(vmt_freep) char *path = NULL;
        struct stat st;

        if (asprintf(&path, "%s/%s", b->partial, image_part_file((enum image_part)part)) <
            0)
            return vmt_err_set(err, ENOMEM, "write manifest");
        r = image_digest_file(path, m.digest[part], err);
        if (r == 0 && stat(path, &st) < 0)
            r = vmt_err_set(err, errno, "look at %s", path);
        if (r == 0)
            m.size[part] = (uint64_t)st.st_size;
    }
    return r < 0 ? r : image_manifest_save(b->partial, &m, err);
}

/* Running VMs keep the old files open; new starts see the new folder whole. */
static int
swap_in(struct build *b, struct vmt_err *err)
{
    int r = os_remove_tree(b->old, err);

    if (r < 0)
        return r;
    if (rename(b->target, b->old) < 0 && errno != ENOENT)
        return vmt_err_set(err, errno, "move the old image %s away", b->target);
    if (rename(b->partial, b->target) < 0)
        return vmt_err_set(err, errno, "rename %s", b->partial);
    return os_remove_tree(b->old, err);
}

static int
build_parts(struct build *b, char *key, struct vmt_err *err)
{
    uint64_t begin = os_monotonic_ms();
    int r = os_remove_tree(b->partial, err);

    if (r == 0)
        r = os_mkdir_p(b->partial, 0755, err);
    if (r == 0)
        r = make_kernel(b, err);
    if (r == 0)
        r = make_initrd(b, err);
    if (r < 0)
        return r;
    step(b, "kernel and initramfs", os_monotonic_ms() - begin);
    r = make_root(b, err);
    if (r == 0)
        r = make_manifest(b, key, err);
    return r < 0 ? r : swap_in(b, err);
}

static int
build_all(const struct image_build_options *options, bool *ret_built, struct vmt_err *err)
{
    VMT_CLEANUP(build_done) struct build b = {.options = options, .lock = -1};
    char key[IMAGE_DIGEST_HEX];
    uint64_t begin = os_monotonic_ms();
    int r = build_paths(&b, err);

    if (r == 0)
        r = check_host(options, err);
    if (r == 0)
        r = image_kernel_fetch(options->cache_dir, options->refresh, &b.kernel_dir,
                               &b.release, err);
    if (r == 0)
        r = build_key(&b, key, err);
    if (r < 0)
        return r;
    if (is_current(&b, key)) {
        *ret_built = false;
        return 0;
    }
    step(&b, "kernel package", os_monotonic_ms() - begin);
    b.rootfs = (struct image_rootfs){
        .cache_dir = options->cache_dir,
        .guest_dir = options->guest_dir,
        .suite = options->suite,
        .mirror = options->mirror,
        .kernel_dir = b.kernel_dir,
        .release = b.release,
        .refresh = options->refresh,
    };
    r = build_parts(&b, key, err);
    if (r < 0) {
        (void)os_remove_tree(b.partial, NULL);
        return vmt_err_wrap(err, r, "build image %s", options->name);
    }
    *ret_built = true;
    return 0;
}

int
image_build(const struct image_build_options *options, bool *ret_built,
            struct vmt_err *err)
{
    /* libarchive converts file names by the locale, and Debian has some beyond ASCII. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before;
    int r;

    if (utf8 == (locale_t)0)
        return vmt_err_set(err, errno, "use the locale C.UTF-8");
    before = uselocale(utf8);
    r = build_all(options, ret_built, err);
    (void)uselocale(before);
    freelocale(utf8);
    return r;
}
