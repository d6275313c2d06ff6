/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_host.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "tests/fake/fake_disks.h"
#include "tests/fake/fake_host_devices.h"
#include "tests/fake/fake_states.h"

/* A directory, image, log or record; a process that uses a directory. */
struct entry {
    struct vmt_list node;
    char *name;
    char *data;
    size_t len;
};

struct fake_host {
    struct host base;
    struct vmt_list dirs, images, logs, records, users, groups;
    struct host_memory memory;
    int groups_error, group_removals_busy;
    uint32_t cpu_limit;
    uint64_t resident, free_bytes;
    struct fake_disks *disks;
    unsigned next_dir, skip, trims, randoms;
    int error;
    bool failed;
    char server[64], domain[64], zone[64];
    char l1tf[128];
};

static struct fake_host *
self_of(const struct host *host)
{
    return VMT_CONTAINER_OF((struct host *)(uintptr_t)host, struct fake_host, base);
}

static struct entry *
find(struct vmt_list *list, const char *name)
{
    VMT_LIST_FOREACH(at, following, list)
    {
        struct entry *e = VMT_CONTAINER_OF(at, struct entry, node);

        if (strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

static struct entry *
add(struct vmt_list *list, const char *name)
{
    struct entry *e = calloc(1, sizeof(*e));

    assert(e);
    e->name = strdup(name);
    assert(e->name);
    vmt_list_append(list, &e->node);
    return e;
}

static struct entry *
put(struct vmt_list *list, const char *name)
{
    struct entry *e = find(list, name);

    return e ? e : add(list, name);
}

static void
drop(struct entry *e)
{
    if (!e)
        return;
    vmt_list_remove(&e->node);
    free(e->name);
    free(e->data);
    free(e);
}

static void
set(struct entry *e, const void *data, size_t len)
{
    free(e->data);
    e->data = malloc(len + 1);
    assert(e->data);
    memcpy(e->data, data, len);
    e->data[len] = '\0';
    e->len = len;
}

static size_t
count(const struct vmt_list *list)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, list)
    n++;
    return n;
}

static int
may_fail(struct host *host, const char *what, struct vmt_err *err)
{
    struct fake_host *self = self_of(host);

    int error = self->error;

    if (!error)
        return 0;
    if (self->skip-- > 0)
        return 0;
    self->failed = true;
    self->error = 0;
    return vmt_err_set(err, error, "%s", what);
}

static int
null_fd(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    assert(fd >= 0);
    return fd;
}

static uint32_t
fake_cpus(struct host *host)
{
    (void)host;
    return 4;
}

static uint64_t
fake_mem_mib(struct host *host)
{
    (void)host;
    return 8192;
}

static int
fake_random(struct host *host, void *buf, size_t len, struct vmt_err *err)
{
    int r = may_fail(host, "get random bytes", err);

    if (r < 0)
        return r;
    memset(buf, 0xab, len);
    ((uint8_t *)buf)[len - 1] ^= (uint8_t)self_of(host)->randoms++; /* never twice */
    return 0;
}

static void
fake_zone(struct host *host, char *buf, size_t cap)
{
    (void)snprintf(buf, cap, "%s", self_of(host)->zone);
}

static void
fake_dns(struct host *host, struct host_dns *ret_dns)
{
    struct fake_host *self = self_of(host);

    ret_dns->nservers = ret_dns->ndomains = 1;
    (void)snprintf(ret_dns->servers[0], HOST_DNS_TEXT_MAX, "%s", self->server);
    (void)snprintf(ret_dns->domains[0], HOST_DNS_TEXT_MAX, "%s", self->domain);
}

void
fake_host_set_dns(struct host *host, const char *server, const char *domain)
{
    struct fake_host *self = self_of(host);

    (void)snprintf(self->server, sizeof(self->server), "%s", server);
    (void)snprintf(self->domain, sizeof(self->domain), "%s", domain);
}

static bool
fake_vulnerability(struct host *host, const char *name, char *buf, size_t cap)
{
    struct fake_host *self = self_of(host);

    if (strcmp(name, "l1tf") != 0 || !self->l1tf[0])
        return false;
    (void)snprintf(buf, cap, "%s", self->l1tf);
    return true;
}

void
fake_host_set_l1tf(struct host *host, const char *text)
{
    struct fake_host *self = self_of(host);

    (void)snprintf(self->l1tf, sizeof(self->l1tf), "%s", text ? text : "");
}

void
fake_host_set_zone(struct host *host, const char *zone)
{
    struct fake_host *self = self_of(host);

    (void)snprintf(self->zone, sizeof(self->zone), "%s", zone);
}

static int
fake_image_open(struct host *host, const char *path, bool writable, uint32_t uid,
                int *ret_fd, struct vmt_err *err)
{
    int r = may_fail(host, "open image", err);

    (void)writable;
    (void)uid;
    if (r < 0)
        return r;
    if (!find(&self_of(host)->images, path))
        return vmt_err_set(err, ENOENT, "open image %s", path);
    *ret_fd = null_fd();
    return 0;
}

static int
fake_image_folder(struct host *host, const char *path, uint32_t uid, int *ret_fd,
                  struct vmt_err *err)
{
    return fake_image_open(host, path, false, uid, ret_fd, err);
}

static int
fake_image_check(struct host *host, int fd, bool *ret_writable, struct vmt_err *err)
{
    int r = may_fail(host, "look at image", err);

    *ret_writable = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    return r;
}

static int
fake_image_reopen(struct host *host, int fd, int *ret_fd, struct vmt_err *err)
{
    int r = may_fail(host, "open image again", err);

    (void)fd;
    if (r == 0)
        *ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return r;
}

static void
fake_image_place(struct host *host, int fd, struct host_place *ret_place)
{
    (void)host;
    (void)fd;
    *ret_place = (struct host_place){.path = "/dev/null", .device = 1, .inode = 1};
}

static void
fake_close(struct host *host, int fd)
{
    (void)host;
    vmt_closep(&fd);
}

static int
fake_listen(struct host *host, const char *path, int *ret_fd, struct vmt_err *err)
{
    int r = may_fail(host, "listen", err);

    (void)path;
    if (r == 0)
        *ret_fd = null_fd();
    return r;
}

static int
fake_dir_make(struct host *host, char **ret_path, struct vmt_err *err)
{
    struct fake_host *self = self_of(host);
    char path[64];
    int r = may_fail(host, "make directory", err);

    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "/run/vm.%06u", self->next_dir++);
    (void)put(&self->dirs, path);
    *ret_path = strdup(path);
    return 0;
}

static int
fake_dir_remove(struct host *host, const char *path, struct vmt_err *err)
{
    struct fake_host *self = self_of(host);

    (void)err;
    VMT_LIST_FOREACH(at, following, &self->logs)
    {
        struct entry *e = VMT_CONTAINER_OF(at, struct entry, node);

        if (strncmp(e->name, path, strlen(path)) == 0)
            drop(e);
    }
    drop(find(&self->dirs, path));
    return 0;
}

static int
fake_dir_each(struct host *host, void (*fn)(void *arg, const char *path), void *arg,
              struct vmt_err *err)
{
    (void)err;
    VMT_LIST_FOREACH(at, following, &self_of(host)->dirs)
    {
        char path[64];

        (void)snprintf(path, sizeof(path), "%s",
                       VMT_CONTAINER_OF(at, struct entry, node)->name);
        fn(arg, path);
    }
    return 0;
}

static size_t
fake_dir_users(struct host *host, const char *path, const char *mark,
               struct spawn_id *ids, size_t max)
{
    size_t n = 0;

    (void)mark;
    VMT_LIST_FOREACH(at, following, &self_of(host)->users)
    {
        struct entry *e = VMT_CONTAINER_OF(at, struct entry, node);

        if (n < max && strcmp(e->name, path) == 0)
            memcpy(&ids[n++], e->data, sizeof(ids[0]));
    }
    return n;
}

static int
fake_log_open(struct host *host, const char *path, int *ret_fd, struct vmt_err *err)
{
    int r = may_fail(host, "open log", err);

    if (r < 0)
        return r;
    set(put(&self_of(host)->logs, path), "", 0);
    *ret_fd = null_fd();
    return 0;
}

static uint64_t
fake_log_size(struct host *host, const char *path)
{
    struct entry *e = find(&self_of(host)->logs, path);

    return e ? e->len : 0;
}

static int
fake_log_tail(struct host *host, const char *path, size_t max, char **ret_data,
              size_t *ret_len, struct vmt_err *err)
{
    struct entry *e = find(&self_of(host)->logs, path);
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
    struct entry *e = find(&self_of(host)->logs, path);

    (void)err;
    if (!e || e->len <= max)
        return 0;
    self_of(host)->trims++;
    set(e, "", 0);
    return 1;
}

static int
fake_save(struct host *host, const char *name, const void *data, size_t len,
          struct vmt_err *err)
{
    int r = may_fail(host, "save record", err);

    if (r == 0)
        set(put(&self_of(host)->records, name), data, len);
    return r;
}

static void
fake_remove(struct host *host, const char *name)
{
    drop(find(&self_of(host)->records, name));
}

static int
fake_load(struct host *host, const char *name, void **ret_data, size_t *ret_len,
          struct vmt_err *err)
{
    struct entry *e = find(&self_of(host)->records, name);

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
    struct fake_host *self = self_of(host);
    char *names[64];
    size_t n = 0;

    (void)err;
    VMT_LIST_FOREACH(at, following, &self->records)
    {
        assert(n < VMT_ARRAY_SIZE(names));
        names[n++] = strdup(VMT_CONTAINER_OF(at, struct entry, node)->name);
    }
    for (size_t i = 0; i < n; i++) {
        fn(arg, names[i]);
        free(names[i]);
    }
    return 0;
}

static const struct host_fact_ops facts = {.cpus = fake_cpus,
                                           .mem_mib = fake_mem_mib,
                                           .random = fake_random,
                                           .zone = fake_zone,
                                           .vulnerability = fake_vulnerability,
                                           .dns = fake_dns};
static const struct host_file_ops files = {.image_open = fake_image_open,
                                           .image_folder = fake_image_folder,
                                           .image_check = fake_image_check,
                                           .image_reopen = fake_image_reopen,
                                           .image_place = fake_image_place,
                                           .close = fake_close,
                                           .listen = fake_listen,
                                           .dir_make = fake_dir_make,
                                           .dir_remove = fake_dir_remove,
                                           .dir_each = fake_dir_each,
                                           .dir_users = fake_dir_users};
static const struct host_log_ops logs = {.open = fake_log_open,
                                         .size = fake_log_size,
                                         .tail = fake_log_tail,
                                         .trim = fake_log_trim};
static const struct host_store_ops store = {
    .save = fake_save, .remove = fake_remove, .load = fake_load, .each = fake_each};

static void
fake_memory_now(struct host *host, struct host_memory *ret_memory)
{
    *ret_memory = self_of(host)->memory;
}

static int
fake_groups_prepare(struct host *host, struct vmt_err *err)
{
    int error = self_of(host)->groups_error;

    return error ? vmt_err_setx(err, error, "there are no groups here") : 0;
}

static int
fake_group_make(struct host *host, const char *name, int *ret_fd, struct vmt_err *err)
{
    (void)err;
    assert(!self_of(host)->groups_error);
    (void)put(&self_of(host)->groups, name);
    *ret_fd = null_fd();
    return 0;
}

static int
fake_group_weight(struct host *host, const char *name, uint32_t weight,
                  struct vmt_err *err)
{
    struct entry *e = find(&self_of(host)->groups, name);

    if (!e)
        return vmt_err_set(err, ENOENT, "set the weight of %s", name);
    set(e, &weight, sizeof(weight));
    return 0;
}

static int
fake_group_remove(struct host *host, const char *name)
{
    struct fake_host *self = self_of(host);

    if (self->group_removals_busy > 0) {
        self->group_removals_busy--;
        return -EBUSY;
    }
    drop(find(&self->groups, name));
    return 0;
}

static void
fake_groups_each(struct host *host, void (*fn)(void *arg, const char *name), void *arg)
{
    VMT_LIST_FOREACH(at, following, &self_of(host)->groups)
    {
        char name[64];

        (void)snprintf(name, sizeof(name), "%s",
                       VMT_CONTAINER_OF(at, struct entry, node)->name);
        fn(arg, name);
    }
}

static uint32_t
fake_cpu_limit(struct host *host)
{
    return self_of(host)->cpu_limit;
}

static const struct host_cgroup_ops cgroups = {.prepare = fake_groups_prepare,
                                               .make = fake_group_make,
                                               .set_weight = fake_group_weight,
                                               .remove = fake_group_remove,
                                               .each = fake_groups_each,
                                               .cpu_limit = fake_cpu_limit};

static uint64_t
fake_resident(struct host *host, int32_t pid)
{
    (void)pid;
    return self_of(host)->resident;
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
    *ret_bytes = self_of(host)->free_bytes;
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

static const struct host_space_ops space_ops = {
    .place = fake_place,
    .free_bytes = fake_free_bytes,
    .number_new = fake_number_new,
    .number_free = fake_number_free,
};

static const struct host_reclaim_ops reclaim_ops = {.resident = fake_resident,
                                                    .run = fake_reclaim};

static const struct host_memory_ops memory = {.now = fake_memory_now};

struct host *
fake_host_new(void)
{
    struct fake_host *self = calloc(1, sizeof(*self));

    if (!self)
        return NULL;
    self->base = (struct host){.facts = &facts,
                               .files = &files,
                               .logs = &logs,
                               .store = &store,
                               .state = &fake_states_ops,
                               .memory = &memory,
                               .cgroups = &cgroups,
                               .reclaim = &reclaim_ops,
                               .space = &space_ops,
                               .devices = &fake_host_devices,
                               .disks = &fake_disk_ops};
    self->memory.total = 8192ull << 20;
    self->memory.available = 6144ull << 20;
    fake_host_set_dns(&self->base, "192.0.2.53", "example.org");
    fake_host_set_zone(&self->base, "Europe/Berlin");
    vmt_list_init(&self->dirs);
    vmt_list_init(&self->images);
    vmt_list_init(&self->logs);
    vmt_list_init(&self->records);
    vmt_list_init(&self->users);
    self->disks = fake_disks_new();
    vmt_list_init(&self->groups);
    return &self->base;
}

static void
drop_all(struct vmt_list *list)
{
    VMT_LIST_FOREACH(at, following, list)
    drop(VMT_CONTAINER_OF(at, struct entry, node));
}

void
fake_host_free(struct host *host)
{
    struct fake_host *self = self_of(host);

    drop_all(&self->dirs);
    drop_all(&self->images);
    drop_all(&self->logs);
    drop_all(&self->records);
    drop_all(&self->users);
    fake_disks_free(self->disks);
    drop_all(&self->groups);
    fake_states_free(host);
    free(self);
}

void
fake_host_fail_after(struct host *host, unsigned skip, int error)
{
    struct fake_host *self = self_of(host);

    self->skip = skip;
    self->error = error;
    self->failed = false;
}

bool
fake_host_has_failed(const struct host *host)
{
    return self_of(host)->failed;
}

void
fake_host_add_image(struct host *host, const char *path)
{
    (void)put(&self_of(host)->images, path);
}

size_t
fake_host_dirs(const struct host *host)
{
    return count(&self_of(host)->dirs);
}

size_t
fake_host_records(const struct host *host)
{
    return count(&self_of(host)->records);
}

void
fake_host_set_record(struct host *host, const char *name, const void *data, size_t len)
{
    set(put(&self_of(host)->records, name), data, len);
}

void
fake_host_append(struct host *host, const char *part, const char *text)
{
    VMT_LIST_FOREACH(at, following, &self_of(host)->logs)
    {
        struct entry *e = VMT_CONTAINER_OF(at, struct entry, node);
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
    return self_of(host)->trims;
}

void
fake_host_add_user(struct host *host, const char *dir, const struct spawn_id *id)
{
    struct entry *e = add(&self_of(host)->users, dir);

    set(e, id, sizeof(*id));
}

void
fake_host_set_memory(struct host *host, const struct host_memory *memory_now)
{
    self_of(host)->memory = *memory_now;
}

struct fake_disks *
fake_host_disks(struct host *host)
{
    return self_of(host)->disks;
}

int
fake_host_may_fail(struct host *host, const char *what, struct vmt_err *err)
{
    return may_fail(host, what, err);
}

void
fake_host_logs_each(struct host *host, const char *dir,
                    void (*fn)(void *arg, const char *name), void *arg)
{
    VMT_LIST_FOREACH(at, following, &self_of(host)->logs)
    {
        struct entry *e = VMT_CONTAINER_OF(at, struct entry, node);

        if (strncmp(e->name, dir, strlen(dir)) == 0)
            fn(arg, e->name + strlen(dir));
    }
}

void
fake_host_log_remove(struct host *host, const char *path)
{
    drop(find(&self_of(host)->logs, path));
}

void
fake_host_set_groups(struct host *host, int error, unsigned busy)
{
    self_of(host)->groups_error = error;
    self_of(host)->group_removals_busy = (int)busy;
}

void
fake_host_set_cpu_limit(struct host *host, uint32_t limit)
{
    self_of(host)->cpu_limit = limit;
}

size_t
fake_host_groups(const struct host *host)
{
    return count(&self_of(host)->groups);
}

uint32_t
fake_host_group_weight(const struct host *host, const char *name)
{
    const struct entry *e = find(&self_of(host)->groups, name);
    uint32_t weight = 0;

    if (e && e->len == sizeof(weight))
        memcpy(&weight, e->data, sizeof(weight));
    return weight;
}

void
fake_host_add_group(struct host *host, const char *name)
{
    (void)put(&self_of(host)->groups, name);
}

void
fake_host_set_resident(struct host *host, uint64_t bytes)
{
    self_of(host)->resident = bytes;
}

void
fake_host_set_free_bytes(struct host *host, uint64_t bytes)
{
    self_of(host)->free_bytes = bytes;
}
