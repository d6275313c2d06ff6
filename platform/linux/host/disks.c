/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/disks.c - the images of owners.
 * Owner and file are one path component each, opened in turn without following a link:
 * so nothing outside of the owner's directory can be reached. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"

/* Source: platform2 vm_tools/concierge/service.cc, kDiskImageUserChosenSizeXattr and
 * kDiskImageVmTypeXattr. */
#define XATTR_CHOSEN "user.crostini.user_chosen_size"
#define XATTR_TYPE "user.crostini.vm_type"
/* Where the file system has no such attributes, the file ".<image>.attrs" beside it has
 * them, one a line; vm_disk(8), FILES. */
#define SIDECAR ".attrs"
#define SIDECAR_MAX 4096

#define QCOW2_MAGIC "QFI\xfb"
#define QCOW2_SIZE_AT 24 /* big endian, 8 bytes; QEMU docs/interop/qcow2.txt */

static struct linux_host *
self_of(struct host *host)
{
    return VMT_CONTAINER_OF(host, struct linux_host, base);
}

static bool
is_component(const char *name)
{
    return *name && *name != '.' && !strchr(name, '/');
}

/* The directory of an owner. Returns 0, -ENOENT, -errno. */
static int
dir_open(struct host *host, const char *owner, bool make, int *ret_fd,
         struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep)
    int root = open(self_of(host)->disk_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd;

    if (root < 0)
        return vmt_err_set(err, errno, "open the folder of disks %s",
                           self_of(host)->disk_dir);
    if (!is_component(owner))
        return vmt_err_setx(err, EINVAL, "this is no owner id");
    if (make && mkdirat(root, owner, 0700) < 0 && errno != EEXIST)
        return vmt_err_set(err, errno, "make the folder of the owner's disks");
    fd = openat(root, owner, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "open the folder of the owner's disks");
    *ret_fd = fd;
    return 0;
}

static int
disks_prepare(struct host *host, const char *owner, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int dir = -1;

    return dir_open(host, owner, true, &dir, err);
}

static int
disks_path(struct host *host, const char *owner, const char *file, char **ret_path,
           struct vmt_err *err)
{
    char *path;

    if (asprintf(&path, "%s/%s/%s", self_of(host)->disk_dir, owner, file) < 0)
        return vmt_err_set(err, ENOMEM, "name a disk");
    *ret_path = path;
    return 0;
}

static bool
disks_is_inside(struct host *host, const char *owner, const char *path,
                const char **ret_file)
{
    const char *at = path;
    const char *const parts[] = {self_of(host)->disk_dir, "/", owner, "/"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(parts); i++) {
        if (!vmt_str_has_prefix(at, parts[i]))
            return false;
        at += strlen(parts[i]);
    }
    if (!is_component(at))
        return false;
    *ret_file = at;
    return true;
}

/* O_NONBLOCK, because opening what is no file might wait; a file ignores it. */
static int
file_open(int dir, const char *file, int flags, int *ret_fd, struct stat *ret_st,
          struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (!is_component(file))
        return vmt_err_setx(err, EINVAL, "disk image: this is no file name");
    fd = openat(dir, file, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "open disk image %s", file);
    if (fstat(fd, ret_st) < 0)
        return vmt_err_set(err, errno, "look at disk image %s", file);
    if (!S_ISREG(ret_st->st_mode))
        return vmt_err_setx(err, EINVAL, "disk image %s is no regular file", file);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

static void
take_meta(char *line, struct host_disk *d)
{
    uint64_t n;

    if (strcmp(line, XATTR_CHOSEN "=1") == 0)
        d->user_chosen_size = true;
    else if (vmt_str_has_prefix(line, XATTR_TYPE "=") &&
             vmt_parse_u64(line + strlen(XATTR_TYPE "="), 99, &n) == 0)
        d->vm_type = (int)n;
}

/* NULL without memory. */
static char *
sidecar_path(struct host *host, const char *owner, const char *file)
{
    char *path;

    return asprintf(&path, "%s/%s/.%s" SIDECAR, self_of(host)->disk_dir, owner, file) < 0
               ? NULL
               : path;
}

static void
read_meta(struct host *host, const char *owner, const char *file, int fd,
          struct host_disk *d)
{
    VMT_CLEANUP(vmt_freep) char *path = sidecar_path(host, owner, file);
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len = 0;
    char text[4], *save = NULL;
    ssize_t n = fgetxattr(fd, XATTR_TYPE, text, sizeof(text) - 1);
    uint64_t type;

    d->user_chosen_size = fgetxattr(fd, XATTR_CHOSEN, NULL, 0) >= 0;
    if (n > 0) {
        text[n] = '\0';
        if (vmt_parse_u64(text, 99, &type) == 0)
            d->vm_type = (int)type;
    }
    if (!path || os_read_file(path, SIDECAR_MAX, &data, &len, NULL) < 0)
        return;
    for (char *l = strtok_r(data, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        take_meta(l, d);
}

static uint64_t
virtual_size(int fd, uint64_t size)
{
    uint8_t head[QCOW2_SIZE_AT + 8];
    uint64_t v = 0;

    if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        memcmp(head, QCOW2_MAGIC, 4) != 0)
        return size;
    for (int i = 0; i < 8; i++)
        v = v << 8 | head[QCOW2_SIZE_AT + i];
    return v;
}

/* The name decides about the format: the content of a raw image is the guest's. */
static bool
is_qcow2(const char *file)
{
    const char *dot = strrchr(file, '.');

    return dot && strcmp(dot, ".qcow2") == 0;
}

static int
disks_stat(struct host *host, const char *owner, const char *file, struct host_disk *ret,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int dir = -1;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st = {.st_size = 0};
    int r = dir_open(host, owner, false, &dir, err);

    if (r == 0)
        r = file_open(dir, file, O_RDONLY, &fd, &st, err);
    if (r < 0)
        return r;
    *ret = (struct host_disk){.bytes = (uint64_t)st.st_size,
                              .used_bytes = (uint64_t)st.st_blocks * 512,
                              .vm_type = -1};
    if (is_qcow2(file))
        ret->bytes = virtual_size(fd, ret->bytes);
    read_meta(host, owner, file, fd, ret);
    return 0;
}

/* Names first: fn may remove. */
static int
disks_each(struct host *host, const char *owner, void (*fn)(void *arg, const char *file),
           void *arg, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int dir = -1;
    struct dirent **list = NULL;
    int r = dir_open(host, owner, false, &dir, err), n;

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    n = scandirat(dir, ".", &list, NULL, alphasort);
    if (n < 0)
        return vmt_err_set(err, errno, "list the owner's disks");
    for (int i = 0; i < n; i++) {
        if (is_component(list[i]->d_name))
            fn(arg, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return 0;
}

static int
disks_open(struct host *host, const char *owner, const char *file, bool writable,
           int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int dir = -1;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st;
    int r = dir_open(host, owner, false, &dir, err);

    if (r == 0)
        r = file_open(dir, file, writable ? O_RDWR : O_RDONLY, &fd, &st, err);
    if (r < 0)
        return r;
    if (flock(fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? vmt_err_setx(err, EBUSY, "disk image %s is in use", file)
                   : vmt_err_set(err, errno, "lock disk image %s", file);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

static int
disks_remove(struct host *host, const char *owner, const char *file, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *sidecar = sidecar_path(host, owner, file);
    VMT_CLEANUP(vmt_closep) int dir = -1;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st;
    int r = dir_open(host, owner, false, &dir, err);

    if (r == 0)
        r = file_open(dir, file, O_RDONLY, &fd, &st, err);
    if (r < 0)
        return r;
    if (unlinkat(dir, file, 0) < 0)
        return vmt_err_set(err, errno, "remove disk image %s", file);
    if (sidecar)
        (void)unlink(sidecar);
    return fsync(dir) < 0 ? vmt_err_set(err, errno, "remove disk image %s", file) : 0;
}

static int
disks_rename(struct host *host, const char *owner, const char *from, const char *to,
             struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *old_meta = sidecar_path(host, owner, from);
    VMT_CLEANUP(vmt_freep) char *new_meta = sidecar_path(host, owner, to);
    VMT_CLEANUP(vmt_closep) int dir = -1;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st;
    int r = dir_open(host, owner, false, &dir, err);

    if (r == 0 && !is_component(to))
        r = vmt_err_setx(err, EINVAL, "disk image: this is no file name");
    if (r == 0)
        r = file_open(dir, from, O_RDONLY, &fd, &st, err);
    if (r < 0)
        return r;
    if (!old_meta || !new_meta)
        return vmt_err_set(err, ENOMEM, "rename disk image %s", from);
    if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) < 0)
        return vmt_err_set(err, errno, "rename disk image %s", from);
    (void)rename(old_meta, new_meta);
    return fsync(dir) < 0 ? vmt_err_set(err, errno, "rename disk image %s", from) : 0;
}

/* Attributes are lost when the file is made anew, so the file has to be there. */
static int
disks_set_user_chosen(struct host *host, const char *owner, const char *file,
                      struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = sidecar_path(host, owner, file);
    VMT_CLEANUP(vmt_closep) int dir = -1;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct host_disk d = {.vm_type = -1};
    char text[96];
    struct stat st;
    int r = dir_open(host, owner, false, &dir, err), n;

    if (r == 0)
        r = file_open(dir, file, O_RDWR, &fd, &st, err);
    if (r < 0)
        return r;
    if (fsetxattr(fd, XATTR_CHOSEN, "1", 2, 0) == 0)
        return 0;
    if (errno != ENOTSUP || !path)
        return vmt_err_set(err, errno, "mark disk image %s", file);
    read_meta(host, owner, file, fd, &d);
    n = snprintf(text, sizeof(text), XATTR_CHOSEN "=1\n");
    if (d.vm_type >= 0)
        n += snprintf(text + n, sizeof(text) - (size_t)n, XATTR_TYPE "=%d\n", d.vm_type);
    return os_write_file_atomic(path, text, (unsigned long)n, 0600, err);
}

static int
check_stream(int fd, int needed, const char *what, struct vmt_err *err)
{
    int flags = fcntl(fd, F_GETFL), mode = flags & O_ACCMODE;
    struct stat st;

    if (flags < 0 || linux_host_look(fd, &st) < 0)
        return vmt_err_set(err, EINVAL, "the descriptor to %s", what);
    if (S_ISDIR(st.st_mode))
        return vmt_err_setx(err, EINVAL, "the descriptor to %s is a directory", what);
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
        return vmt_err_setx(err, EINVAL,
                            "the descriptor to %s is neither a file, a pipe nor a socket",
                            what);
    if ((flags & O_PATH) || (mode != O_RDWR && mode != needed))
        return vmt_err_setx(err, EINVAL, "the descriptor to %s is not open for that",
                            what);
    return 0;
}

static int
disks_source_check(struct host *host, int fd, struct vmt_err *err)
{
    (void)host;
    return check_stream(fd, O_RDONLY, "read from", err);
}

static int
disks_target_check(struct host *host, int fd, struct vmt_err *err)
{
    (void)host;
    return check_stream(fd, O_WRONLY, "write to", err);
}

const struct host_disk_ops linux_host_disks = {
    .prepare = disks_prepare,
    .path = disks_path,
    .is_inside = disks_is_inside,
    .stat = disks_stat,
    .each = disks_each,
    .open = disks_open,
    .remove = disks_remove,
    .rename = disks_rename,
    .set_user_chosen = disks_set_user_chosen,
    .source_check = disks_source_check,
    .target_check = disks_target_check,
    .progress_path = linux_host_progress_path,
    .progress_each = linux_host_progress_each,
    .progress_remove = linux_host_progress_remove,
    .progress_writer = linux_host_progress_writer,
};
