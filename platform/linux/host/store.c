/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"

#define RECORD_MAX 65536
#define SUFFIX ".record"

static char *
record_path(struct host *host, const char *name)
{
    struct linux_host *self = VMT_CONTAINER_OF(host, struct linux_host, base);
    char *path;

    if (strchr(name, '/'))
        return NULL;
    return asprintf(&path, "%s/%s" SUFFIX, self->record_dir, name) < 0 ? NULL : path;
}

static int
store_save(struct host *host, const char *name, const void *data, size_t len,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = record_path(host, name);

    if (!path)
        return vmt_err_set(err, ENOMEM, "save record %s", name);
    return os_write_file_atomic(path, data, len, 0600, err);
}

static void
store_remove(struct host *host, const char *name)
{
    VMT_CLEANUP(vmt_freep) char *path = record_path(host, name);

    if (path)
        (void)unlink(path);
}

static int
store_load(struct host *host, const char *name, void **ret_data, size_t *ret_len,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = record_path(host, name);
    char *data = NULL;
    unsigned long len = 0;
    int r;

    if (!path)
        return vmt_err_set(err, ENOMEM, "load record %s", name);
    r = os_read_file(path, RECORD_MAX, &data, &len, err);
    if (r < 0)
        return r;
    *ret_data = data;
    *ret_len = len;
    return 0;
}

static int
is_record(const struct dirent *e)
{
    size_t len = strlen(e->d_name);

    return e->d_name[0] != '.' && len > sizeof(SUFFIX) - 1 &&
           strcmp(e->d_name + len - (sizeof(SUFFIX) - 1), SUFFIX) == 0;
}

/* The names are collected first: fn may add and remove records. */
static int
store_each(struct host *host, void (*fn)(void *arg, const char *name), void *arg,
           struct vmt_err *err)
{
    struct linux_host *self = VMT_CONTAINER_OF(host, struct linux_host, base);
    struct dirent **list = NULL;
    int n = scandir(self->record_dir, &list, is_record, alphasort);

    if (n < 0)
        return vmt_err_set(err, errno, "list the records in %s", self->record_dir);
    for (int i = 0; i < n; i++) {
        list[i]->d_name[strlen(list[i]->d_name) - (sizeof(SUFFIX) - 1)] = '\0';
        fn(arg, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return 0;
}

const struct host_store_ops linux_host_store = {
    .save = store_save,
    .remove = store_remove,
    .load = store_load,
    .each = store_each,
};
