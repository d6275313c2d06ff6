/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/disk/attrs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

static char *
beside_name(const char *name, const char *ending)
{
    char *text;

    return asprintf(&text, ".%s.attrs%s", name, ending) < 0 ? NULL : text;
}

static int
beside_read(int dir_fd, const char *name, struct disk_attrs *ret_attrs)
{
    VMT_CLEANUP(vmt_freep) char *path = beside_name(name, "");
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char text[4 * DISK_ATTRS_TEXT]; /* more lines may come with later versions */
    ssize_t n;

    if (!path)
        return -ENOMEM;
    fd = openat(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    n = read(fd, text, sizeof(text));
    if (n < 0)
        return -errno;
    disk_attrs_parse(text, (size_t)n, ret_attrs);
    return 0;
}

static int
beside_write(int dir_fd, const char *name, const struct disk_attrs *attrs)
{
    VMT_CLEANUP(vmt_freep) char *path = beside_name(name, "");
    VMT_CLEANUP(vmt_freep) char *next = beside_name(name, ".new");
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char text[DISK_ATTRS_TEXT];
    size_t len = disk_attrs_format(attrs, text);

    if (!path || !next)
        return -ENOMEM;
    fd =
        openat(dir_fd, next, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0 ||
        renameat(dir_fd, next, dir_fd, path) < 0) {
        int r = errno ? -errno : -EIO;

        (void)unlinkat(dir_fd, next, 0);
        return r;
    }
    return 0;
}

int
disk_attrs_remove(int dir_fd, const char *name, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = beside_name(name, "");

    if (!path)
        return vmt_err_set(err, ENOMEM, "remove the attributes of %s", name);
    if (unlinkat(dir_fd, path, 0) < 0 && errno != ENOENT)
        return vmt_err_set(err, errno, "remove the attributes of %s", name);
    return 0;
}

int
disk_attrs_read(int dir_fd, const char *name, int fd, struct disk_attrs *ret_attrs,
                struct vmt_err *err)
{
    struct disk_attrs attrs = {.vm_type = DISK_VM_TYPE_UNKNOWN};
    char value[3];
    ssize_t n = fgetxattr(fd, DISK_ATTR_VM_TYPE, value, sizeof(value));
    int r = 0;

    if (n < 0 && errno == EOPNOTSUPP)
        r = beside_read(dir_fd, name, &attrs);
    else if (n < 0 && errno != ENODATA && errno != ERANGE)
        r = -errno;
    else if (n > 0)
        attrs.vm_type = disk_vm_type_parse(value, (size_t)n);
    if (r < 0)
        return vmt_err_set(err, -r, "read the attributes of %s", name);
    if (fgetxattr(fd, DISK_ATTR_USER_CHOSEN_SIZE, NULL, 0) >= 0)
        attrs.user_chosen_size = true;
    *ret_attrs = attrs;
    return 0;
}

static int
attrs_set(int fd, const struct disk_attrs *attrs)
{
    char value[16];

    if (attrs->user_chosen_size &&
        fsetxattr(fd, DISK_ATTR_USER_CHOSEN_SIZE, "1", 2, 0) < 0)
        return -errno;
    if (attrs->vm_type >= 0) {
        int n = snprintf(value, sizeof(value), "%d", attrs->vm_type);

        if (fsetxattr(fd, DISK_ATTR_VM_TYPE, value, (size_t)n, 0) < 0)
            return -errno;
    }
    return 0;
}

int
disk_attrs_write(int dir_fd, const char *name, int fd, const struct disk_attrs *attrs,
                 struct vmt_err *err)
{
    int r = attrs_set(fd, attrs);

    if (r == -EOPNOTSUPP) {
        struct disk_attrs all = {.vm_type = DISK_VM_TYPE_UNKNOWN};

        r = beside_read(dir_fd, name, &all);
        if (attrs->vm_type >= 0)
            all.vm_type = attrs->vm_type;
        all.user_chosen_size |= attrs->user_chosen_size;
        if (r == 0)
            r = beside_write(dir_fd, name, &all);
    }
    return r < 0 ? vmt_err_set(err, -r, "note the attributes of %s", name) : 0;
}
