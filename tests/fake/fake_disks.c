/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_disks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "tests/fake/fake_host.h"

#define ROOT "/data/vms/"

struct image {
    struct vmt_list node;
    char *path; /* "<owner>/<file>" */
    struct host_disk info;
    bool locked;
};

struct fake_disks {
    struct vmt_list images;
    struct spawn_id writer;
};

static struct fake_disks *
self_of(struct host *host)
{
    return fake_host_disks(host);
}

struct fake_disks *
fake_disks_new(void)
{
    struct fake_disks *d = calloc(1, sizeof(*d));

    assert(d);
    vmt_list_init(&d->images);
    return d;
}

static void
image_free(struct image *image)
{
    vmt_list_remove(&image->node);
    free(image->path);
    free(image);
}

void
fake_disks_free(struct fake_disks *d)
{
    VMT_LIST_FOREACH(at, following, &d->images)
    image_free(VMT_CONTAINER_OF(at, struct image, node));
    free(d);
}

static struct image *
find(struct host *host, const char *owner, const char *file)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", owner, file);
    VMT_LIST_FOREACH(at, following, &self_of(host)->images)
    {
        struct image *image = VMT_CONTAINER_OF(at, struct image, node);

        if (strcmp(image->path, path) == 0)
            return image;
    }
    return NULL;
}

struct host_disk *
fake_disks_put(struct host *host, const char *owner, const char *file, uint64_t bytes)
{
    struct image *image = find(host, owner, file);

    if (!image) {
        image = calloc(1, sizeof(*image));
        assert(image && asprintf(&image->path, "%s/%s", owner, file) > 0);
        vmt_list_append(&self_of(host)->images, &image->node);
        image->info.vm_type = -1;
    }
    image->info.bytes = image->info.used_bytes = bytes;
    return &image->info;
}

bool
fake_disks_has(struct host *host, const char *owner, const char *file)
{
    return find(host, owner, file) != NULL;
}

void
fake_disks_lock(struct host *host, const char *owner, const char *file, bool locked)
{
    struct image *image = find(host, owner, file);

    assert(image);
    image->locked = locked;
}

void
fake_disks_set_writer(struct host *host, const struct spawn_id *id)
{
    self_of(host)->writer = *id;
}

static int
fake_prepare(struct host *host, const char *owner, struct vmt_err *err)
{
    (void)owner;
    return fake_host_may_fail(host, "make the folder", err);
}

static int
fake_path(struct host *host, const char *owner, const char *file, char **ret_path,
          struct vmt_err *err)
{
    (void)host;
    (void)err;
    assert(asprintf(ret_path, ROOT "%s/%s", owner, file) > 0);
    return 0;
}

static bool
fake_is_inside(struct host *host, const char *owner, const char *path,
               const char **ret_file)
{
    char prefix[256];
    int n = snprintf(prefix, sizeof(prefix), ROOT "%s/", owner);

    (void)host;
    if (strncmp(path, prefix, (size_t)n) != 0 || strchr(path + n, '/') ||
        path[n] == '.' || !path[n])
        return false;
    *ret_file = path + n;
    return true;
}

static int
fake_stat(struct host *host, const char *owner, const char *file, struct host_disk *ret,
          struct vmt_err *err)
{
    struct image *image = find(host, owner, file);
    int r = fake_host_may_fail(host, "look at the image", err);

    if (r == 0 && !image)
        return vmt_err_set(err, ENOENT, "open disk image %s", file);
    if (r == 0)
        *ret = image->info;
    return r;
}

static int
fake_each(struct host *host, const char *owner, void (*fn)(void *arg, const char *file),
          void *arg, struct vmt_err *err)
{
    int r = fake_host_may_fail(host, "list the images", err);
    size_t len = strlen(owner);

    if (r < 0)
        return r;
    VMT_LIST_FOREACH(at, following, &self_of(host)->images)
    {
        struct image *image = VMT_CONTAINER_OF(at, struct image, node);

        if (strncmp(image->path, owner, len) == 0 && image->path[len] == '/')
            fn(arg, image->path + len + 1);
    }
    return 0;
}

static int
fake_open(struct host *host, const char *owner, const char *file, bool writable,
          int *ret_fd, struct vmt_err *err)
{
    struct image *image = find(host, owner, file);
    int r = fake_host_may_fail(host, "open the image", err);

    if (r < 0)
        return r;
    if (!image)
        return vmt_err_set(err, ENOENT, "open disk image %s", file);
    if (image->locked)
        return vmt_err_setx(err, EBUSY, "disk image %s is in use", file);
    *ret_fd = open("/dev/null", (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    assert(*ret_fd >= 0);
    return 0;
}

static int
fake_remove(struct host *host, const char *owner, const char *file, struct vmt_err *err)
{
    struct image *image = find(host, owner, file);
    int r = fake_host_may_fail(host, "remove the image", err);

    if (r == 0 && !image)
        return vmt_err_set(err, ENOENT, "remove disk image %s", file);
    if (r == 0)
        image_free(image);
    return r;
}

static int
fake_rename(struct host *host, const char *owner, const char *from, const char *to,
            struct vmt_err *err)
{
    struct image *image = find(host, owner, from);
    int r = fake_host_may_fail(host, "rename the image", err);

    if (r < 0)
        return r;
    if (!image)
        return vmt_err_set(err, ENOENT, "rename disk image %s", from);
    if (find(host, owner, to))
        return vmt_err_set(err, EEXIST, "rename disk image %s", from);
    free(image->path);
    assert(asprintf(&image->path, "%s/%s", owner, to) > 0);
    return 0;
}

static int
fake_set_user_chosen(struct host *host, const char *owner, const char *file,
                     struct vmt_err *err)
{
    struct image *image = find(host, owner, file);

    if (!image)
        return vmt_err_set(err, ENOENT, "mark disk image %s", file);
    image->info.user_chosen_size = true;
    return 0;
}

static int
check_stream(int fd, int needed, struct vmt_err *err)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL), mode = flags & O_ACCMODE;

    if (flags < 0 || fstat(fd, &st) < 0 || S_ISDIR(st.st_mode) ||
        (mode != O_RDWR && mode != needed))
        return vmt_err_setx(err, EINVAL, "the descriptor is not open for that");
    return 0;
}

static int
fake_source_check(struct host *host, int fd, struct vmt_err *err)
{
    (void)host;
    return check_stream(fd, O_RDONLY, err);
}

static int
fake_target_check(struct host *host, int fd, struct vmt_err *err)
{
    (void)host;
    return check_stream(fd, O_WRONLY, err);
}

static int
fake_progress_path(struct host *host, const char *name, char **ret_path,
                   struct vmt_err *err)
{
    (void)host;
    (void)err;
    assert(asprintf(ret_path, FAKE_DISKS_PROGRESS "%s", name) > 0);
    return 0;
}

static int
fake_progress_each(struct host *host, void (*fn)(void *arg, const char *name), void *arg,
                   struct vmt_err *err)
{
    (void)err;
    fake_host_logs_each(host, FAKE_DISKS_PROGRESS, fn, arg);
    return 0;
}

static void
fake_progress_remove(struct host *host, const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof(path), FAKE_DISKS_PROGRESS "%s", name);
    fake_host_log_remove(host, path);
}

static int
fake_progress_writer(struct host *host, const char *name, struct spawn_id *ret_id)
{
    (void)name;
    if (!self_of(host)->writer.pid)
        return -ESRCH;
    *ret_id = self_of(host)->writer;
    return 0;
}

const struct host_disk_ops fake_disk_ops = {
    .prepare = fake_prepare,
    .path = fake_path,
    .is_inside = fake_is_inside,
    .stat = fake_stat,
    .each = fake_each,
    .open = fake_open,
    .remove = fake_remove,
    .rename = fake_rename,
    .set_user_chosen = fake_set_user_chosen,
    .source_check = fake_source_check,
    .target_check = fake_target_check,
    .progress_path = fake_progress_path,
    .progress_each = fake_progress_each,
    .progress_remove = fake_progress_remove,
    .progress_writer = fake_progress_writer,
};
