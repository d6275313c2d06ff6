/* SPDX-License-Identifier: BSD-3-Clause */
/* Logs and records of the fake host. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/fake/fake_host.h"
#include "tests/fake/fake_host_internal.h"

static int
fake_log_open(struct host *host, const char *path, int *ret_fd, struct vmt_err *err)
{
    int r = fake_host_may_fail(host, "open log", err);

    if (r < 0)
        return r;
    fake_entry_set(fake_entry_put(&fake_host_of(host)->logs, path), "", 0);
    *ret_fd = fake_null_fd();
    return 0;
}

static uint64_t
fake_log_size(struct host *host, const char *path)
{
    struct fake_entry *e = fake_entry_find(&fake_host_of(host)->logs, path);

    return e ? e->len : 0;
}

static int
fake_log_tail(struct host *host, const char *path, size_t max, char **ret_data,
              size_t *ret_len, struct vmt_err *err)
{
    struct fake_entry *e = fake_entry_find(&fake_host_of(host)->logs, path);
    size_t n;

    if (!e)
        return vmt_err_set(err, ENOENT, "read log");
    n = e->len < max ? e->len : max;
    *ret_data = strdup(e->data + e->len - n);
    *ret_len = n;
    return *ret_data ? 0 : vmt_err_set(err, ENOMEM, "read log");
}

static int
fake_log_trim(struct host *host, const char *path, uint64_t max, struct vmt_err *err)
{
    struct fake_entry *e = fake_entry_find(&fake_host_of(host)->logs, path);

    (void)err;
    if (!e || e->len <= max)
        return 0;
    fake_host_of(host)->trims++;
    fake_entry_set(e, "", 0);
    return 1;
}

static int
fake_save(struct host *host, const char *name, const void *data, size_t len,
          struct vmt_err *err)
{
    int r = fake_host_may_fail(host, "save record", err);

    if (r == 0)
        fake_entry_set(fake_entry_put(&fake_host_of(host)->records, name), data, len);
    return r;
}

static void
fake_remove(struct host *host, const char *name)
{
    fake_entry_drop(fake_entry_find(&fake_host_of(host)->records, name));
}

static int
fake_load(struct host *host, const char *name, void **ret_data, size_t *ret_len,
          struct vmt_err *err)
{
    struct fake_entry *e = fake_entry_find(&fake_host_of(host)->records, name);

    if (!e)
        return vmt_err_set(err, ENOENT, "load record");
    *ret_data = malloc(e->len + 1);
    assert(*ret_data);
    memcpy(*ret_data, e->data, e->len);
    *ret_len = e->len;
    return 0;
}

/* Names first: fn may remove. */
static int
fake_each(struct host *host, void (*fn)(void *arg, const char *name), void *arg,
          struct vmt_err *err)
{
    struct fake_host *self = fake_host_of(host);
    char *names[64];
    size_t n = 0;

    (void)err;
    VMT_LIST_FOREACH(at, following, &self->records)
    {
        assert(n < VMT_ARRAY_SIZE(names));
        names[n++] = strdup(VMT_CONTAINER_OF(at, struct fake_entry, node)->name);
    }
    for (size_t i = 0; i < n; i++) {
        fn(arg, names[i]);
        free(names[i]);
    }
    return 0;
}

const struct host_log_ops fake_host_logs = {.open = fake_log_open,
                                            .size = fake_log_size,
                                            .tail = fake_log_tail,
                                            .trim = fake_log_trim};

const struct host_store_ops fake_host_store = {
    .save = fake_save, .remove = fake_remove, .load = fake_load, .each = fake_each};

size_t
fake_host_records(const struct host *host)
{
    return fake_entries(&fake_host_of(host)->records);
}

void
fake_host_set_record(struct host *host, const char *name, const void *data, size_t len)
{
    fake_entry_set(fake_entry_put(&fake_host_of(host)->records, name), data, len);
}

void
fake_host_append(struct host *host, const char *part, const char *text)
{
    VMT_LIST_FOREACH(at, following, &fake_host_of(host)->logs)
    {
        struct fake_entry *e = VMT_CONTAINER_OF(at, struct fake_entry, node);
        size_t len = strlen(text);

        if (!strstr(e->name, part))
            continue;
        e->data = realloc(e->data, e->len + len + 1);
        assert(e->data);
        memcpy(e->data + e->len, text, len + 1);
        e->len += len;
        return;
    }
    assert(false && "a log of that name");
}

unsigned
fake_host_trims(const struct host *host)
{
    return fake_host_of(host)->trims;
}

void
fake_host_logs_each(struct host *host, const char *dir,
                    void (*fn)(void *arg, const char *name), void *arg)
{
    VMT_LIST_FOREACH(at, following, &fake_host_of(host)->logs)
    {
        struct fake_entry *e = VMT_CONTAINER_OF(at, struct fake_entry, node);

        if (strncmp(e->name, dir, strlen(dir)) == 0)
            fn(arg, e->name + strlen(dir));
    }
}

void
fake_host_log_remove(struct host *host, const char *path)
{
    fake_entry_drop(fake_entry_find(&fake_host_of(host)->logs, path));
}
