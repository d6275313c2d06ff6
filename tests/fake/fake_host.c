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
#include "tests/fake/fake_disks.h"
#include "tests/fake/fake_host_devices.h"
#include "tests/fake/fake_host_internal.h"
#include "tests/fake/fake_states.h"

struct fake_host *
fake_host_of(const struct host *host)
{
    return VMT_CONTAINER_OF((struct host *)(uintptr_t)host, struct fake_host, base);
}

struct fake_entry *
fake_entry_find(struct vmt_list *list, const char *name)
{
    VMT_LIST_FOREACH(at, following, list)
    {
        struct fake_entry *e = VMT_CONTAINER_OF(at, struct fake_entry, node);

        if (strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

struct fake_entry *
fake_entry_add(struct vmt_list *list, const char *name)
{
    struct fake_entry *e = calloc(1, sizeof(*e));

    assert(e);
    e->name = strdup(name);
    assert(e->name);
    vmt_list_append(list, &e->node);
    return e;
}

struct fake_entry *
fake_entry_put(struct vmt_list *list, const char *name)
{
    struct fake_entry *e = fake_entry_find(list, name);

    return e ? e : fake_entry_add(list, name);
}

void
fake_entry_drop(struct fake_entry *e)
{
    if (!e)
        return;
    vmt_list_remove(&e->node);
    free(e->name);
    free(e->data);
    free(e);
}

void
fake_entry_set(struct fake_entry *e, const void *data, size_t len)
{
    free(e->data);
    e->data = malloc(len + 1);
    assert(e->data);
    memcpy(e->data, data, len);
    e->data[len] = '\0';
    e->len = len;
}

size_t
fake_entries(const struct vmt_list *list)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, list)
    n++;
    return n;
}

int
fake_host_may_fail(struct host *host, const char *what, struct vmt_err *err)
{
    struct fake_host *self = fake_host_of(host);

    int error = self->error;

    if (!error)
        return 0;
    if (self->skip-- > 0)
        return 0;
    self->failed = true;
    self->error = 0;
    return vmt_err_set(err, error, "%s", what);
}

int
fake_null_fd(void)
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
    int r = fake_host_may_fail(host, "get random bytes", err);

    if (r < 0)
        return r;
    memset(buf, 0xab, len);
    ((uint8_t *)buf)[len - 1] ^= (uint8_t)fake_host_of(host)->randoms++; /* never twice */
    return 0;
}

static void
fake_zone(struct host *host, char *buf, size_t cap)
{
    (void)snprintf(buf, cap, "%s", fake_host_of(host)->zone);
}

static void
fake_dns(struct host *host, struct host_dns *ret_dns)
{
    struct fake_host *self = fake_host_of(host);

    ret_dns->nservers = ret_dns->ndomains = 1;
    (void)snprintf(ret_dns->servers[0], HOST_DNS_TEXT_MAX, "%s", self->server);
    (void)snprintf(ret_dns->domains[0], HOST_DNS_TEXT_MAX, "%s", self->domain);
}

void
fake_host_set_dns(struct host *host, const char *server, const char *domain)
{
    struct fake_host *self = fake_host_of(host);

    (void)snprintf(self->server, sizeof(self->server), "%s", server);
    (void)snprintf(self->domain, sizeof(self->domain), "%s", domain);
}

static bool
fake_vulnerability(struct host *host, const char *name, char *buf, size_t cap)
{
    struct fake_host *self = fake_host_of(host);

    if (strcmp(name, "l1tf") != 0 || !self->l1tf[0])
        return false;
    (void)snprintf(buf, cap, "%s", self->l1tf);
    return true;
}

void
fake_host_set_l1tf(struct host *host, const char *text)
{
    struct fake_host *self = fake_host_of(host);

    (void)snprintf(self->l1tf, sizeof(self->l1tf), "%s", text ? text : "");
}

void
fake_host_set_zone(struct host *host, const char *zone)
{
    struct fake_host *self = fake_host_of(host);

    (void)snprintf(self->zone, sizeof(self->zone), "%s", zone);
}

static int
fake_image_open(struct host *host, const char *path, bool writable, uint32_t uid,
                int *ret_fd, struct vmt_err *err)
{
    int r = fake_host_may_fail(host, "open image", err);

    (void)writable;
    (void)uid;
    if (r < 0)
        return r;
    if (!fake_entry_find(&fake_host_of(host)->images, path))
        return vmt_err_set(err, ENOENT, "open image %s", path);
    *ret_fd = fake_null_fd();
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
    int r = fake_host_may_fail(host, "look at image", err);

    *ret_writable = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    return r;
}

static int
fake_image_reopen(struct host *host, int fd, int *ret_fd, struct vmt_err *err)
{
    int r = fake_host_may_fail(host, "open image again", err);

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
    int r = fake_host_may_fail(host, "listen", err);

    (void)path;
    if (r == 0)
        *ret_fd = fake_null_fd();
    return r;
}

static int
fake_dir_make(struct host *host, char **ret_path, struct vmt_err *err)
{
    struct fake_host *self = fake_host_of(host);
    char path[64];
    int r = fake_host_may_fail(host, "make directory", err);

    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "/run/vm.%06u", self->next_dir++);
    (void)fake_entry_put(&self->dirs, path);
    *ret_path = strdup(path);
    return 0;
}

static int
fake_dir_remove(struct host *host, const char *path, struct vmt_err *err)
{
    struct fake_host *self = fake_host_of(host);

    (void)err;
    VMT_LIST_FOREACH(at, following, &self->logs)
    {
        struct fake_entry *e = VMT_CONTAINER_OF(at, struct fake_entry, node);

        if (strncmp(e->name, path, strlen(path)) == 0)
            fake_entry_drop(e);
    }
    fake_entry_drop(fake_entry_find(&self->dirs, path));
    return 0;
}

static int
fake_dir_each(struct host *host, void (*fn)(void *arg, const char *path), void *arg,
              struct vmt_err *err)
{
    (void)err;
    VMT_LIST_FOREACH(at, following, &fake_host_of(host)->dirs)
    {
        char path[64];

        (void)snprintf(path, sizeof(path), "%s",
                       VMT_CONTAINER_OF(at, struct fake_entry, node)->name);
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
    VMT_LIST_FOREACH(at, following, &fake_host_of(host)->users)
    {
        struct fake_entry *e = VMT_CONTAINER_OF(at, struct fake_entry, node);

        if (n < max && strcmp(e->name, path) == 0)
            memcpy(&ids[n++], e->data, sizeof(ids[0]));
    }
    return n;
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

struct host *
fake_host_new(void)
{
    struct fake_host *self = calloc(1, sizeof(*self));

    if (!self)
        return NULL;
    self->base = (struct host){.facts = &facts,
                               .files = &files,
                               .logs = &fake_host_logs,
                               .store = &fake_host_store,
                               .state = &fake_states_ops,
                               .memory = &fake_host_memory,
                               .cgroups = &fake_host_cgroups,
                               .reclaim = &fake_host_reclaim,
                               .space = &fake_host_space,
                               .handover = &fake_host_handover,
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
    fake_entry_drop(VMT_CONTAINER_OF(at, struct fake_entry, node));
}

void
fake_host_free(struct host *host)
{
    struct fake_host *self = fake_host_of(host);

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
    struct fake_host *self = fake_host_of(host);

    self->skip = skip;
    self->error = error;
    self->failed = false;
}

bool
fake_host_has_failed(const struct host *host)
{
    return fake_host_of(host)->failed;
}

void
fake_host_add_image(struct host *host, const char *path)
{
    (void)fake_entry_put(&fake_host_of(host)->images, path);
}

size_t
fake_host_dirs(const struct host *host)
{
    return fake_entries(&fake_host_of(host)->dirs);
}

void
fake_host_add_user(struct host *host, const char *dir, const struct spawn_id *id)
{
    struct fake_entry *e = fake_entry_add(&fake_host_of(host)->users, dir);

    fake_entry_set(e, id, sizeof(*id));
}

struct fake_disks *
fake_host_disks(struct host *host)
{
    return fake_host_of(host)->disks;
}
