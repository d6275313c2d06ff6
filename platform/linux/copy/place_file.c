/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/place_file.c - one regular file, under a temporary name until it is
 * whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/str.h"
#include "platform/linux/copy/copy_internal.h"

static int
file_open(struct place_file *file, struct place *place)
{
    int r = place_parent(place, file->path, &file->dir, &file->name);

    if (r < 0)
        return r;
    place_temporary(place, file->temporary);
    file->fd = openat(file->dir, file->temporary,
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file->fd < 0) {
        *file->temporary = '\0'; /* one that is there is not ours to remove */
        return -errno;
    }
    /* The end of a sparse file may be a hole. */
    if (file->entry.size != COPY_SIZE_UNKNOWN &&
        ftruncate(file->fd, (off_t)file->entry.size) < 0)
        return -errno;
    return 0;
}

int
place_file_begin(struct place_file *file, struct place *place,
                 const struct copy_entry *entry)
{
    *file = (struct place_file){.fd = -1, .dir = -1, .entry = *entry};
    file->path = strdup(entry->path);
    file->error = file->path ? file_open(file, place) : -ENOMEM;
    file->entry.path = file->path;
    return file->error;
}

int
place_file_data(struct place_file *file, const struct copy_record *record)
{
    size_t done = 0;

    /* What it said of itself holds: a file that grows without end is none. */
    if (record->offset < file->end || record->offset + record->len > file->entry.size)
        return -EBADMSG;
    file->end = record->offset + record->len;
    while (file->error == 0 && done < record->len) {
        ssize_t n = pwrite(file->fd, record->data + done, record->len - done,
                           (off_t)(record->offset + done));

        if (n < 0 && errno != EINTR)
            file->error = -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int
place_file_commit(struct place_file *file, bool keep)
{
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = file->entry.mtime_s, .tv_nsec = (long)file->entry.mtime_ns},
    };
    int fd = file->fd;

    if (file->error)
        return file->error;
    if (fchmod(fd, place_mode(file->entry.mode)) < 0 || futimens(fd, times) < 0)
        return -errno;
    file->fd = -1;
    if (close(fd) < 0) /* where a network file system tells that it has no space */
        return -errno;
    return place_commit(file->dir, file->temporary, file->name, keep);
}

void
place_file_done(struct place_file *file)
{
    if (file->dir >= 0 && *file->temporary)
        (void)unlinkat(file->dir, file->temporary,
                       0); /* not there when it was complete */
    vmt_closep(&file->fd);
    vmt_closep(&file->dir);
    free(file->path);
    *file = (struct place_file){.fd = -1, .dir = -1};
}

int
place_xattr(int fd, const struct copy_record *record)
{
    if (!vmt_str_has_prefix(record->name, "user."))
        return -EPERM;
    return fsetxattr(fd, record->name, record->data, record->len, 0) < 0 ? -errno : 0;
}
