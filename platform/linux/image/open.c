/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding, verifying and opening images. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/paths.h"

#define STAMP_MAX 4096

static int
is_image(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int
image_list(const char *data_dir, char ***ret_names, size_t *ret_n, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    struct dirent **found = NULL;
    char **names;
    size_t used = 0;
    int n;

    if (asprintf(&dir, "%s/images", data_dir) < 0)
        return vmt_err_set(err, ENOMEM, "list images");
    n = scandir(dir, &found, is_image, alphasort);
    if (n < 0 && errno != ENOENT)
        return vmt_err_set(err, errno, "list images in %s", dir);
    names = calloc(n > 0 ? (size_t)n : 1, sizeof(*names));
    for (int i = 0; i < n; i++) {
        if (names && (names[used] = strdup(found[i]->d_name)))
            used++;
        free(found[i]);
    }
    free(found);
    if (!names || used != (n > 0 ? (size_t)n : 0)) {
        image_strings_free(names, used);
        return vmt_err_set(err, ENOMEM, "list images");
    }
    *ret_names = names;
    *ret_n = used;
    return 0;
}

int
image_find(const char *data_dir, const char *name_or_dir, char **ret_dir,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    VMT_CLEANUP(vmt_freep) char *manifest = NULL;
    int n;

    if (*name_or_dir == '\0' || strcmp(name_or_dir, ".") == 0 ||
        strcmp(name_or_dir, "..") == 0)
        return vmt_err_setx(err, EINVAL, "\"%s\" is no name of an image", name_or_dir);
    if (strchr(name_or_dir, '/'))
        n = asprintf(&dir, "%s", name_or_dir);
    else
        n = asprintf(&dir, "%s/images/%s", data_dir, name_or_dir);
    if (n < 0 || asprintf(&manifest, "%s/manifest.json", dir) < 0)
        return vmt_err_set(err, ENOMEM, "find image");
    if (access(manifest, R_OK) < 0)
        return vmt_err_set(err, errno,
                           "no image %s (try `vmc image list` or `vmc image build`): %s",
                           name_or_dir, manifest);
    *ret_dir = vmt_take_ptr(&dir);
    return 0;
}

static int
part_open(const char *dir, enum image_part part, int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;

    if (asprintf(&path, "%s/%s", dir, image_part_file(part)) < 0)
        return vmt_err_set(err, ENOMEM, "open image");
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    return *ret_fd < 0 ? vmt_err_set(err, errno, "open %s", path) : 0;
}

static int
part_check(const char *dir, const struct image_manifest *m, enum image_part part, int fd,
           struct vmt_err *err)
{
    char hex[IMAGE_DIGEST_HEX];
    int r;

    if (lseek(fd, 0, SEEK_SET) < 0)
        return vmt_err_set(err, errno, "read %s/%s", dir, image_part_file(part));
    r = image_digest_fd(fd, hex, err);
    if (r < 0)
        return r;
    if (strcmp(hex, m->digest[part]) != 0)
        return vmt_err_setx(
            err, EBADMSG,
            "image file %s/%s is damaged: its SHA-256 is %.16s..., the manifest "
            "says %.16s... (try `vmc image build --rebuild`)",
            dir, image_part_file(part), hex, m->digest[part]);
    return lseek(fd, 0, SEEK_SET) < 0 ? vmt_err_set(err, errno, "rewind") : 0;
}

void
image_files_done(struct image_files *files)
{
    for (int part = 0; part < IMAGE_PART_COUNT; part++)
        vmt_closep(&files->fd[part]);
    image_manifest_done(&files->manifest);
}

static int
files_open(const char *dir, struct image_files *files, struct vmt_err *err)
{
    int r = 0;

    *files = (struct image_files){0};
    for (int part = 0; part < IMAGE_PART_COUNT; part++)
        files->fd[part] = -1;
    r = image_manifest_load(dir, &files->manifest, err);
    for (int part = 0; part < IMAGE_PART_COUNT && r == 0; part++)
        r = part_open(dir, (enum image_part)part, &files->fd[part], err);
    return r;
}

static int
files_check(const char *dir, const struct image_files *files, struct vmt_err *err)
{
    int r = 0;

    for (int part = 0; part < IMAGE_PART_COUNT && r == 0; part++)
        r = part_check(dir, &files->manifest, (enum image_part)part, files->fd[part],
                       err);
    return r;
}

int
image_verify(const char *dir, struct vmt_err *err)
{
    VMT_CLEANUP(image_files_done) struct image_files files;
    int r = files_open(dir, &files, err);

    return r < 0 ? r : files_check(dir, &files, err);
}

/* What identifies the bytes that were checked: the manifest's digests and, per file, what
 * the kernel changes whenever somebody writes to it. ctime cannot be set back without
 * root. */
static int
stamp_format(const struct image_files *files, char stamp[STAMP_MAX], struct vmt_err *err)
{
    size_t used = 0;

    for (int part = 0; part < IMAGE_PART_COUNT; part++) {
        struct stat st;

        if (fstat(files->fd[part], &st) < 0)
            return vmt_err_set(err, errno, "look at %s",
                               image_part_file((enum image_part)part));
        used += (size_t)snprintf(
            stamp + used, STAMP_MAX - used, "%s %s %lx %lx %lld %lld.%09ld %lld.%09ld\n",
            image_part_file((enum image_part)part), files->manifest.digest[part],
            (unsigned long)st.st_dev, (unsigned long)st.st_ino, (long long)st.st_size,
            (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
            (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    }
    return 0;
}

int
image_open(const char *dir, struct image_files *ret_files, struct vmt_err *err)
{
    VMT_CLEANUP(image_files_done) struct image_files files;
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    VMT_CLEANUP(vmt_freep) char *known = NULL;
    char stamp[STAMP_MAX];
    unsigned long len;
    int r = files_open(dir, &files, err);

    if (r == 0)
        r = stamp_format(&files, stamp, err);
    if (r < 0)
        return r;
    if (asprintf(&path, "%s/.verified", dir) < 0)
        return vmt_err_set(err, ENOMEM, "open image");
    if (os_read_file(path, STAMP_MAX, &known, &len, NULL) < 0 ||
        strcmp(known, stamp) != 0) {
        r = files_check(dir, &files, err);
        if (r < 0)
            return r;
        /* A folder that we cannot write to is checked at every start. */
        (void)os_write_file_atomic(path, stamp, strlen(stamp), 0600, NULL);
    }
    *ret_files = files;
    files = (struct image_files){.fd = {-1, -1, -1}};
    return 0;
}
