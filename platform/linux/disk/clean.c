/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/disk/clean.c - remove what killed workers left. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/disk/place.h"
#include "platform/linux/os/dir.h"

/* The image that a temporary is for: what is between the dot and the ending, or before
 * the ".attrs" of attributes that are kept beside it. malloc'ed; NULL when it is none, or
 * without memory. */
static char *
clean_image_name(const char *entry)
{
    static const char *const endings[] = {".tmp", ".attrs.new", ".new"};
    size_t len = strlen(entry);

    for (size_t i = 0; entry[0] == '.' && i < VMT_ARRAY_SIZE(endings); i++) {
        size_t tail = strlen(endings[i]);

        if (len > tail + 1 && strcmp(entry + len - tail, endings[i]) == 0)
            return strndup(entry + 1, len - tail - 1);
    }
    return NULL;
}

/* Returns whether it was removed, or -errno. The name is locked meanwhile: a worker that
 * begins now must not lose its own. */
static int
clean_entry(const struct disk_place *own, const char *entry)
{
    struct disk_place place = {.dir_fd = own->dir_fd, .lock_fd = -1};
    VMT_CLEANUP(vmt_freep) char *name = clean_image_name(entry);
    int r = 0;

    if (!name)
        return 0;
    place.name = name;
    if (own->lock_fd < 0 || strcmp(name, own->name) != 0)
        r = disk_place_lock(&place, NULL);
    if (r == 0 && unlinkat(own->dir_fd, entry, 0) < 0)
        r = -errno;
    vmt_closep(&place.lock_fd);
    return r == -EBUSY || r == -ENOENT ? 0 : r < 0 ? r : 1;
}

int
disk_place_clean(const struct disk_place *place, unsigned *ret_removed,
                 struct vmt_err *err)
{
    int copy = openat(place->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    VMT_CLEANUP(os_closedirp) DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    unsigned removed = 0;
    int r = 0;

    if (!dir) {
        r = vmt_err_set(err, errno, "read the folder of %s", place->name);
        vmt_closep(&copy);
        return r;
    }
    while (r >= 0 && (errno = 0, entry = readdir(dir))) {
        r = clean_entry(place, entry->d_name);
        removed += r > 0;
    }
    if (r >= 0)
        r = -errno;
    if (r < 0)
        return vmt_err_set(err, -r, "clean the folder of %s", place->name);
    *ret_removed = removed;
    return 0;
}
