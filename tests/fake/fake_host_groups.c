/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory, space and groups of processes of the fake host. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/fake/fake_host.h"
#include "tests/fake/fake_host_internal.h"

static void
fake_memory_now(struct host *host, struct host_memory *ret_memory)
{
    *ret_memory = fake_host_of(host)->memory;
}

static int
fake_groups_prepare(struct host *host, struct vmt_err *err)
{
    int error = fake_host_of(host)->groups_error;

    return error ? vmt_err_setx(err, error, "there are no groups here") : 0;
}

static int
fake_group_make(struct host *host, const char *name, int *ret_fd, struct vmt_err *err)
{
    (void)err;
    assert(!fake_host_of(host)->groups_error);
    (void)fake_entry_put(&fake_host_of(host)->groups, name);
    *ret_fd = fake_null_fd();
    return 0;
}

static int
fake_group_weight(struct host *host, const char *name, uint32_t weight,
                  struct vmt_err *err)
{
    struct fake_entry *e = fake_entry_find(&fake_host_of(host)->groups, name);

    if (!e)
        return vmt_err_set(err, ENOENT, "set the weight of %s", name);
    fake_entry_set(e, &weight, sizeof(weight));
    return 0;
}

static int
fake_group_remove(struct host *host, const char *name)
{
    struct fake_host *self = fake_host_of(host);

    if (self->group_removals_busy > 0) {
        self->group_removals_busy--;
        return -EBUSY;
    }
    fake_entry_drop(fake_entry_find(&self->groups, name));
    return 0;
}

static void
fake_groups_each(struct host *host, void (*fn)(void *arg, const char *name), void *arg)
{
    VMT_LIST_FOREACH(at, following, &fake_host_of(host)->groups)
    {
        char name[64];

        (void)snprintf(name, sizeof(name), "%s",
                       VMT_CONTAINER_OF(at, struct fake_entry, node)->name);
        fn(arg, name);
    }
}

static uint32_t
fake_cpu_limit(struct host *host)
{
    return fake_host_of(host)->cpu_limit;
}

const struct host_cgroup_ops fake_host_cgroups = {.prepare = fake_groups_prepare,
                                                  .make = fake_group_make,
                                                  .set_weight = fake_group_weight,
                                                  .remove = fake_group_remove,
                                                  .each = fake_groups_each,
                                                  .cpu_limit = fake_cpu_limit};

static uint64_t
fake_resident(struct host *host, int32_t pid)
{
    (void)pid;
    return fake_host_of(host)->resident;
}

/* In a child that exists on paper only. */
static int
fake_reclaim(struct host *host, const struct host_reclaim *what)
{
    (void)host;
    (void)what;
    return 0;
}

static int
fake_place(struct host *host, int fd, const char *path, char **ret_place)
{
    (void)host;
    (void)fd;
    (void)path;
    *ret_place = strdup("/disks");
    return *ret_place ? 0 : -ENOMEM;
}

static int
fake_free_bytes(struct host *host, const char *place, uint64_t *ret_bytes)
{
    assert(strcmp(place, "/disks") == 0);
    *ret_bytes = fake_host_of(host)->free_bytes;
    return 0;
}

static int
fake_number_new(struct host *host, uint64_t **ret_number)
{
    (void)host;
    *ret_number = calloc(1, sizeof(**ret_number));
    return *ret_number ? 0 : -ENOMEM;
}

static void
fake_number_free(struct host *host, uint64_t *number)
{
    (void)host;
    free(number);
}

const struct host_space_ops fake_host_space = {
    .place = fake_place,
    .free_bytes = fake_free_bytes,
    .number_new = fake_number_new,
    .number_free = fake_number_free,
};

const struct host_reclaim_ops fake_host_reclaim = {.resident = fake_resident,
                                                   .run = fake_reclaim};

const struct host_memory_ops fake_host_memory = {.now = fake_memory_now};

void
fake_host_set_memory(struct host *host, const struct host_memory *memory_now)
{
    fake_host_of(host)->memory = *memory_now;
}

void
fake_host_set_groups(struct host *host, int error, unsigned busy)
{
    fake_host_of(host)->groups_error = error;
    fake_host_of(host)->group_removals_busy = (int)busy;
}

void
fake_host_set_cpu_limit(struct host *host, uint32_t limit)
{
    fake_host_of(host)->cpu_limit = limit;
}

size_t
fake_host_groups(const struct host *host)
{
    return fake_entries(&fake_host_of(host)->groups);
}

uint32_t
fake_host_group_weight(const struct host *host, const char *name)
{
    const struct fake_entry *e = fake_entry_find(&fake_host_of(host)->groups, name);
    uint32_t weight = 0;

    if (e && e->len == sizeof(weight))
        memcpy(&weight, e->data, sizeof(weight));
    return weight;
}

void
fake_host_add_group(struct host *host, const char *name)
{
    (void)fake_entry_put(&fake_host_of(host)->groups, name);
}

void
fake_host_set_resident(struct host *host, uint64_t bytes)
{
    fake_host_of(host)->resident = bytes;
}

void
fake_host_set_free_bytes(struct host *host, uint64_t bytes)
{
    fake_host_of(host)->free_bytes = bytes;
}
