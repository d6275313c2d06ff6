/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries of archives that are the same for the same input, whoever builds and when. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"

#define ARCHIVE_CHUNK (128 * 1024)
#define ARCHIVE_DEPTH_MAX 32

typedef struct archive_entry archive_entry;
VMT_DEFINE_FREEP(archive_entry, archive_entry_free)

int
image_archive_error(struct archive *a, struct vmt_err *err, const char *what)
{
    const char *text = archive_error_string(a);
    int code = archive_errno(a);

    return vmt_err_setx(err, code > 0 ? code : EIO, "%s: %s", what,
                        text ? text : "unknown archive error");
}

static archive_entry *
entry_new(const char *name, unsigned type, unsigned mode, int64_t size)
{
    archive_entry *e = archive_entry_new();

    if (!e)
        return NULL;
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, type);
    archive_entry_set_perm(e, mode);
    archive_entry_set_size(e, size);
    archive_entry_set_mtime(e, IMAGE_EPOCH, 0);
    archive_entry_set_uid(e, 0);
    archive_entry_set_gid(e, 0);
    archive_entry_set_nlink(e, 1);
    return e;
}

static int
entry_write(struct archive *a, archive_entry *e, const char *name, struct vmt_err *err)
{
    if (!e)
        return vmt_err_set(err, ENOMEM, "archive %s", name);
    if (archive_write_header(a, e) != ARCHIVE_OK)
        return image_archive_error(a, err, name);
    return 0;
}

int
image_archive_dir(struct archive *a, const char *name, unsigned mode, struct vmt_err *err)
{
    VMT_CLEANUP(archive_entry_freep)
    archive_entry *e = entry_new(name, AE_IFDIR, mode, 0);

    return entry_write(a, e, name, err);
}

int
image_archive_symlink(struct archive *a, const char *name, const char *target,
                      struct vmt_err *err)
{
    VMT_CLEANUP(archive_entry_freep)
    archive_entry *e = entry_new(name, AE_IFLNK, 0777, 0);

    if (e)
        archive_entry_set_symlink(e, target);
    return entry_write(a, e, name, err);
}

int
image_archive_chardev(struct archive *a, const char *name, unsigned major, unsigned minor,
                      unsigned mode, struct vmt_err *err)
{
    VMT_CLEANUP(archive_entry_freep)
    archive_entry *e = entry_new(name, AE_IFCHR, mode, 0);

    if (e)
        archive_entry_set_rdev(e, makedev(major, minor));
    return entry_write(a, e, name, err);
}

int
image_archive_data(struct archive *a, const char *name, const void *data, size_t len,
                   unsigned mode, struct vmt_err *err)
{
    VMT_CLEANUP(archive_entry_freep)
    archive_entry *e = entry_new(name, AE_IFREG, mode, (int64_t)len);
    int r = entry_write(a, e, name, err);

    if (r < 0)
        return r;
    if (archive_write_data(a, data, len) != (ssize_t)len)
        return image_archive_error(a, err, name);
    return 0;
}

int
image_archive_file(struct archive *a, const char *name, const char *source, unsigned mode,
                   struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(source, O_RDONLY | O_CLOEXEC);
    VMT_CLEANUP(vmt_freep) uint8_t *chunk = malloc(ARCHIVE_CHUNK);
    VMT_CLEANUP(archive_entry_freep) archive_entry *e = NULL;
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "open %s", source);
    e = entry_new(name, AE_IFREG, mode, st.st_size);
    r = entry_write(a, chunk ? e : NULL, name, err);
    if (r < 0)
        return r;
    for (;;) {
        ssize_t n = read(fd, chunk, ARCHIVE_CHUNK);

        if (n < 0)
            return vmt_err_set(err, errno, "read %s", source);
        if (n == 0)
            return 0;
        if (archive_write_data(a, chunk, (size_t)n) != n)
            return image_archive_error(a, err, name);
    }
}

static int
name_is_real(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int
name_compare(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int archive_tree(struct archive *a, const char *prefix, const char *dir,
                        unsigned depth, struct vmt_err *err);

static int
archive_tree_entry(struct archive *a, const char *name, const char *path, unsigned depth,
                   struct vmt_err *err)
{
    struct stat st;
    char target[4096];
    ssize_t n;
    int r;

    if (lstat(path, &st) < 0)
        return vmt_err_set(err, errno, "look at %s", path);
    if (S_ISDIR(st.st_mode)) {
        r = image_archive_dir(a, name, 0755, err);
        return r < 0 ? r : archive_tree(a, name, path, depth + 1, err);
    }
    if (S_ISREG(st.st_mode))
        return image_archive_file(a, name, path, st.st_mode & 0111 ? 0755 : 0644, err);
    if (!S_ISLNK(st.st_mode))
        return vmt_err_setx(err, EINVAL, "%s is neither file, folder nor link", path);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return vmt_err_set(err, errno, "read link %s", path);
    target[n] = '\0';
    return image_archive_symlink(a, name, target, err);
}

static int
archive_tree_child(struct archive *a, const char *prefix, const char *dir,
                   const char *child, unsigned depth, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *name = NULL;
    VMT_CLEANUP(vmt_freep) char *path = NULL;

    if (asprintf(&name, "%s/%s", prefix, child) < 0 ||
        asprintf(&path, "%s/%s", dir, child) < 0)
        return vmt_err_set(err, ENOMEM, "archive %s", dir);
    return archive_tree_entry(a, name, path, depth, err);
}

static int
archive_tree(struct archive *a, const char *prefix, const char *dir, unsigned depth,
             struct vmt_err *err)
{
    struct dirent **names = NULL;
    int n;
    int r = 0;

    if (depth > ARCHIVE_DEPTH_MAX)
        return vmt_err_set(err, ELOOP, "archive %s", dir);
    n = scandir(dir, &names, name_is_real, name_compare);
    if (n < 0)
        return vmt_err_set(err, errno, "read folder %s", dir);
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = archive_tree_child(a, prefix, dir, names[i]->d_name, depth, err);
        free(names[i]);
    }
    free(names);
    return r;
}

int
image_archive_tree(struct archive *a, const char *prefix, const char *dir,
                   struct vmt_err *err)
{
    return archive_tree(a, prefix, dir, 0, err);
}
