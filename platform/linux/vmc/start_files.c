/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/start_files.c - the files that a VM boots from. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/image/image.h"
#include "platform/linux/vmc/cmd_start.h"
#include "platform/linux/vmc/vmc.h"

#define IMAGE_DEFAULT "debian"

static const int kinds[IMAGE_PART_COUNT] = {
    [IMAGE_KERNEL] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__KERNEL,
    [IMAGE_INITRD] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__INITRD,
    [IMAGE_ROOT] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__ROOTFS,
};

void
start_files_done(struct start_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        vmt_closep(&files->fds[i]);
    files->n = 0;
    vmt_freep(&files->cmdline);
    files->cmdline = NULL;
}

static int
file_open(const char *path, int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return vmt_err_setx(err, EINVAL, "%s is no file", path);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

/* Fill in the parts that no option named. */
static int
image_fill(const struct vmc *vmc, const char *name, int *fds, char **ret_cmdline,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    struct image_files image = {.fd = {-1, -1, -1}};
    int r = image_find(vmc->paths.data, name, &dir, err);

    if (r == 0)
        r = image_open(dir, &image, err);
    if (r < 0)
        return r;
    if (fds[IMAGE_ROOT] < 0) {
        *ret_cmdline = image.manifest.cmdline;
        image.manifest.cmdline = NULL;
    }
    for (int i = 0; i < IMAGE_PART_COUNT; i++)
        if (fds[i] < 0)
            fds[i] = vmt_take_fd(&image.fd[i]);
    image_files_done(&image);
    return 0;
}

int
start_files_open(const struct vmc *vmc, const struct start_options *options,
                 struct start_files *ret_files, struct vmt_err *err)
{
    const char *paths[IMAGE_PART_COUNT] = {
        [IMAGE_KERNEL] = options->kernel,
        [IMAGE_INITRD] = options->initrd,
        [IMAGE_ROOT] = options->root,
    };
    VMT_CLEANUP(start_files_done) struct start_files files = {0};
    int fds[IMAGE_PART_COUNT] = {-1, -1, -1};
    bool all = true;
    int r = 0;

    for (int i = 0; r == 0 && i < IMAGE_PART_COUNT; i++) {
        if (paths[i])
            r = file_open(paths[i], &fds[i], err);
        else
            all = false;
    }
    if (r == 0 && !all) {
        r = image_fill(vmc, options->image ? options->image : IMAGE_DEFAULT, fds,
                       &files.cmdline, err);
        /* A kernel of one's own may well do without the rest. */
        if (r == -ENOENT && options->kernel && !options->image)
            r = 0;
    }
    for (int i = 0; i < IMAGE_PART_COUNT; i++)
        if (fds[i] >= 0) {
            files.kinds[files.n] = kinds[i];
            files.fds[files.n++] = fds[i];
        }
    if (r < 0)
        return r;
    *ret_files = files;
    files.n = 0; /* the caller's now */
    files.cmdline = NULL;
    return 0;
}
