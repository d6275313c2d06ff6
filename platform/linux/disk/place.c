/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/disk/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

/* Room for the dot and the endings of temporaries and attributes in a name of 255. */
#define NAME_MAX_BYTES (255 - 16)

/* "" and "/" are the same folder as they are in open(2). */
static int
place_open_dir(int beneath, const char *dir, int *ret_fd)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const struct open_how how = {.flags = (uint64_t)flags,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                            RESOLVE_NO_MAGICLINKS};
    int fd = beneath < 0 ? open(dir, flags)
                         : (int)syscall(SYS_openat2, beneath, dir, &how, sizeof(how));

    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

static int
place_check_name(const char *name, struct vmt_err *err)
{
    if (*name == '\0' || *name == '.')
        return vmt_err_setx(err, EINVAL, "not a name for an image: \"%s\"", name);
    if (strlen(name) > NAME_MAX_BYTES)
        return vmt_err_setx(err, ENAMETOOLONG, "the name of the image is too long");
    return 0;
}

int
disk_place_open(int beneath, const char *path, struct disk_place *ret_place,
                struct vmt_err *err)
{
    struct disk_place place = {.dir_fd = -1, .lock_fd = -1};
    VMT_CLEANUP(vmt_freep) char *dir = strdup(path);
    VMT_CLEANUP(vmt_freep) char *name = NULL;
    char *slash = dir ? strrchr(dir, '/') : NULL;
    int r;

    name = dir ? strdup(slash ? slash + 1 : dir) : NULL;
    if (!name)
        return vmt_err_set(err, ENOMEM, "open the folder of %s", path);
    r = place_check_name(name, err);
    if (r < 0)
        return r;
    if (slash)
        slash[slash == dir] = '\0';
    r = place_open_dir(beneath, slash ? dir : ".", &place.dir_fd);
    if (r < 0)
        return vmt_err_set(err, -r, "open the folder of %s", path);
    place.name = vmt_take_ptr(&name);
    *ret_place = place;
    return 0;
}

void
disk_place_done(struct disk_place *place)
{
    vmt_closep(&place->dir_fd);
    vmt_closep(&place->lock_fd);
    free(place->name);
    *place = (struct disk_place){.dir_fd = -1, .lock_fd = -1};
}

char *
disk_temp_name(const char *name, unsigned step)
{
    char *text;

    return asprintf(&text, ".%s.%s", name, step == 0 ? "tmp" : "new") < 0 ? NULL : text;
}

static int
temp_open_named(const struct disk_place *place, struct disk_temp *temp)
{
    temp->name = disk_temp_name(place->name, 0);
    if (!temp->name)
        return -ENOMEM;
    if (unlinkat(place->dir_fd, temp->name, 0) < 0 && errno != ENOENT)
        return -errno;
    temp->fd = openat(place->dir_fd, temp->name,
                      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return temp->fd < 0 ? -errno : 0;
}

/* What a file system or kernel without O_TMPFILE says. */
static bool
temp_unnamed_unknown(int error)
{
    return error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOENT;
}

int
disk_temp_open(const struct disk_place *place, bool named, struct disk_temp *ret_temp,
               struct vmt_err *err)
{
    struct disk_temp temp = {.fd = -1};
    int r = 0;

    if (!named) {
        temp.fd = openat(place->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        r = temp.fd < 0 ? -errno : 0;
    }
    if (temp.fd < 0 && (named || temp_unnamed_unknown(-r)))
        r = temp_open_named(place, &temp);
    if (r < 0) {
        free(temp.name);
        return vmt_err_set(err, -r, "make a temporary file beside %s", place->name);
    }
    *ret_temp = temp;
    return 0;
}

void
disk_temp_done(const struct disk_place *place, struct disk_temp *temp)
{
    if (temp->name)
        (void)unlinkat(place->dir_fd, temp->name, 0);
    free(temp->name);
    temp->name = NULL;
    vmt_closep(&temp->fd);
    temp->fd = -1;
}

static int
temp_link(const struct disk_place *place, const struct disk_temp *temp, const char *to)
{
    char from[32];

    (void)snprintf(from, sizeof(from), "/proc/self/fd/%d", temp->fd);
    return linkat(AT_FDCWD, from, place->dir_fd, to, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* There is no call that replaces a name by an unnamed file: it gets one of its own for
 * that moment. */
static int
temp_link_over(const struct disk_place *place, const struct disk_temp *temp)
{
    VMT_CLEANUP(vmt_freep) char *step = disk_temp_name(place->name, 1);
    int r;

    if (!step)
        return -ENOMEM;
    if (unlinkat(place->dir_fd, step, 0) < 0 && errno != ENOENT)
        return -errno;
    r = temp_link(place, temp, step);
    if (r < 0)
        return r;
    if (renameat(place->dir_fd, step, place->dir_fd, place->name) < 0) {
        r = -errno;
        (void)unlinkat(place->dir_fd, step, 0);
    }
    return r;
}

static int
temp_rename(const struct disk_place *place, struct disk_temp *temp, bool replace)
{
    if (!replace) {
        if (linkat(place->dir_fd, temp->name, place->dir_fd, place->name, 0) == 0)
            return 0; /* done removes the other name */
        /* no hard links: the lock on the name keeps others of us away meanwhile */
        if (errno != EPERM && errno != EOPNOTSUPP)
            return -errno;
        if (faccessat(place->dir_fd, place->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return -EEXIST;
    }
    if (renameat(place->dir_fd, temp->name, place->dir_fd, place->name) < 0)
        return -errno;
    free(temp->name);
    temp->name = NULL;
    return 0;
}

int
disk_temp_place(const struct disk_place *place, struct disk_temp *temp, bool replace,
                struct vmt_err *err)
{
    int r;

    if (fsync(temp->fd) < 0)
        return vmt_err_set(err, errno, "write %s to the disk", place->name);
    if (temp->name)
        r = temp_rename(place, temp, replace);
    else
        r = replace ? temp_link_over(place, temp) : temp_link(place, temp, place->name);
    if (r < 0)
        return vmt_err_set(err, -r, "give %s its name", place->name);
    if (fsync(place->dir_fd) < 0)
        return vmt_err_set(err, errno, "write the folder of %s to the disk", place->name);
    return 0;
}
