/* SPDX-License-Identifier: BSD-3-Clause */
/* The initramfs: maitred as /init, and the modules that stand between it and its root. */
#include <archive.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/paths.h"

#define MODULE_BYTES_MAX (64ul << 20)

/* Needed before the root is there, and for the first word to the host. */
static const char *const initrd_early[] = {
    "virtio_pci", "virtio_blk", "squashfs", "overlay", "vmw_vsock_virtio_transport", NULL,
};

/* Can wait until the host knows that we live: each costs milliseconds under emulation.
 * First what maitred loads before it serves the host. */
static const char *const initrd_late[] = {
    "virtio_net",     "virtio_rng", "button",   "evdev", "pvpanic_mmio",
    "virtio_balloon", "9p",         "9pnet_fd", NULL,
};

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool
listed(char **paths, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(paths[i], path) == 0)
            return true;
    }
    return false;
}

/* The guest does nothing else while it loads one. */
static int
initrd_module(struct archive *a, const char *name, const char *path, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len = 0;
    int r = os_read_file(path, MODULE_BYTES_MAX, &data, &len, err);

    if (r < 0)
        return r;
    (void)image_module_untrace(data, len);
    (void)image_module_untype(data, len);
    return image_archive_data(a, name, data, len, 0644, err);
}

/* The module files and the list of their names in load order; what skip holds is there.
 */
static int
initrd_modules(struct archive *a, const char *list_name, char **paths, size_t n,
               char **skip, size_t nskip, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    size_t text_len = 0;
    FILE *list = open_memstream(&text, &text_len);
    int r = 0;

    if (!list)
        return vmt_err_set(err, ENOMEM, "list modules");
    for (size_t i = 0; i < n && r == 0; i++) {
        VMT_CLEANUP(vmt_freep) char *name = NULL;

        if (listed(skip, nskip, paths[i]))
            continue;
        (void)fprintf(list, "%s\n", base_name(paths[i]));
        if (asprintf(&name, "lib/modules/%s", base_name(paths[i])) < 0)
            r = vmt_err_set(err, ENOMEM, "list modules");
        else
            r = initrd_module(a, name, paths[i], err);
    }
    if (fclose(list) != 0 && r == 0)
        r = vmt_err_set(err, ENOMEM, "list modules");
    return r < 0 ? r : image_archive_data(a, list_name, text, text_len, 0644, err);
}

static int
initrd_all_modules(struct archive *a, const char *kernel_dir, const char *release,
                   struct vmt_err *err)
{
    char **early = NULL, **late = NULL;
    size_t nearly = 0, nlate = 0;
    int r;

    r = image_modules_resolve(kernel_dir, release, initrd_early, &early, &nearly, err);
    if (r == 0)
        r = image_modules_resolve(kernel_dir, release, initrd_late, &late, &nlate, err);
    if (r == 0)
        r = initrd_modules(a, "lib/modules/load.list", early, nearly, NULL, 0, err);
    if (r == 0)
        r = initrd_modules(a, "lib/modules/late.list", late, nlate, early, nearly, err);
    image_strings_free(early, nearly);
    image_strings_free(late, nlate);
    return r;
}

static int
initrd_fill(struct archive *a, const char *maitred, const char *kernel_dir,
            const char *release, struct vmt_err *err)
{
    static const char *const dirs[] = {"dev",  "lib", "lib/modules", "mnt", "proc",
                                       "root", "run", "sys",         "tmp"};
    int r = 0;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(dirs) && r == 0; i++)
        r = image_archive_dir(a, dirs[i], 0755, err);
    /* The kernel opens it for PID 1 before devtmpfs is mounted. */
    if (r == 0)
        r = image_archive_chardev(a, "dev/console", 5, 1, 0600, err);
    if (r == 0)
        r = image_archive_file(a, "init", maitred, 0755, err);
    if (r == 0)
        r = initrd_all_modules(a, kernel_dir, release, err);
    return r;
}

int
image_initrd_write(const char *path, const char *maitred, const char *kernel_dir,
                   const char *release, struct vmt_err *err)
{
    struct archive *a = archive_write_new();
    int r;

    if (!a)
        return vmt_err_set(err, ENOMEM, "write %s", path);
    (void)archive_write_set_format_cpio_newc(a);
    if (archive_write_open_filename(a, path) != ARCHIVE_OK)
        r = image_archive_error(a, err, path);
    else
        r = initrd_fill(a, maitred, kernel_dir, release, err);
    if (archive_write_close(a) != ARCHIVE_OK && r == 0)
        r = image_archive_error(a, err, path);
    (void)archive_write_free(a);
    return r;
}
