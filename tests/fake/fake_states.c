/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_states.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"

#define FILES_MAX 512
#define OPEN_MAX 128

struct state_file {
    char *path, *data;
    size_t len;
    int64_t used_ms;
};

/* Of one host; a table instead of a member, so that the host need not know it. */
struct fake_states {
    struct vmt_list node;
    const struct host *host;
    struct state_file files[FILES_MAX];
    size_t nfiles;
    int open[OPEN_MAX]; /* 0: free */
    int64_t clock;      /* counts what is done */
    char identity[128];
    unsigned skip, backgrounds;
    int error;
};

static struct vmt_list all = {&all, &all};

static struct fake_states *
of(const struct host *host)
{
    struct fake_states *s;

    VMT_LIST_FOREACH(at, following, &all)
    {
        s = VMT_CONTAINER_OF(at, struct fake_states, node);
        if (s->host == host)
            return s;
    }
    s = calloc(1, sizeof(*s));
    assert(s);
    s->host = host;
    (void)snprintf(s->identity, sizeof(s->identity), "file 1");
    vmt_list_append(&all, &s->node);
    return s;
}

static struct state_file *
find(struct fake_states *s, const char *path)
{
    for (size_t i = 0; i < s->nfiles; i++)
        if (strcmp(s->files[i].path, path) == 0)
            return &s->files[i];
    return NULL;
}

static void
forget(struct fake_states *s, struct state_file *f)
{
    size_t i = (size_t)(f - s->files);

    free(f->path);
    free(f->data);
    memmove(f, f + 1, (s->nfiles - i - 1) * sizeof(*f));
    s->nfiles--;
}

static void
put(struct fake_states *s, const char *path, const void *data, size_t len)
{
    struct state_file *f = find(s, path);

    if (f)
        forget(s, f);
    assert(s->nfiles < FILES_MAX);
    f = &s->files[s->nfiles++];
    *f = (struct state_file){strdup(path), malloc(len + 1), len, s->clock++};
    assert(f->path && f->data);
    if (len)
        memcpy(f->data, data, len);
}

static int
may_fail(struct fake_states *s, const char *what, struct vmt_err *err)
{
    int error = s->error;

    if (!error || s->skip-- > 0)
        return 0;
    s->error = 0;
    return vmt_err_set(err, error, "%s", what);
}

static int
memory_file(void)
{
    int fd = memfd_create("state", MFD_CLOEXEC);

    assert(fd >= 0);
    return fd;
}

static int
states_identify(struct host *host, int fd, char *buf, size_t cap, struct vmt_err *err)
{
    struct fake_states *s = of(host);
    int r = may_fail(s, "identify a file", err);

    (void)fd;
    if (r == 0 && !s->identity[0])
        return vmt_err_setx(err, ENOTSUP, "it is no regular file");
    (void)snprintf(buf, cap, "%s", s->identity);
    return r;
}

static int
states_path_of(struct host *host, int fd, char *buf, size_t cap, struct vmt_err *err)
{
    (void)fd;
    (void)snprintf(buf, cap, "/images/file");
    return may_fail(of(host), "find a path", err);
}

static int
states_place(struct host *host, const char *path, char **ret_place, struct vmt_err *err)
{
    char place[512];
    int r = may_fail(of(host), "find a place", err);

    (void)snprintf(place, sizeof(place), "/states/%s", path);
    if (r == 0)
        *ret_place = strdup(place);
    return r;
}

static int
states_create(struct host *host, const char *dir, int *ret_fd, struct vmt_err *err)
{
    struct fake_states *s = of(host);
    int r = may_fail(s, "make a state", err);

    assert(strlen(dir) > 0);
    for (size_t i = 0; r == 0 && i < OPEN_MAX; i++)
        if (!s->open[i]) {
            s->open[i] = *ret_fd = memory_file();
            return 0;
        }
    assert(r < 0); /* else there are too many */
    return r;
}

static int
states_commit(struct host *host, int fd, const char *path, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    struct fake_states *s = of(host);
    struct stat st;
    int r = may_fail(s, "name a state", err);

    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        abort();
    data = malloc((size_t)st.st_size + 1);
    assert(data);
    if (pread(fd, data, (size_t)st.st_size, 0) != st.st_size)
        abort();
    put(s, path, data, (size_t)st.st_size);
    return 0;
}

static void
states_drop(struct host *host, int fd)
{
    struct fake_states *s = of(host);

    for (size_t i = 0; i < OPEN_MAX; i++)
        if (s->open[i] == fd && fd > 0)
            s->open[i] = 0;
    vmt_closep(&fd);
}

static int
states_open(struct host *host, const char *path, int *ret_fd, uint64_t *ret_bytes,
            struct vmt_err *err)
{
    struct fake_states *s = of(host);
    struct state_file *f = find(s, path);
    int r = may_fail(s, "open a state", err);

    if (r < 0)
        return r;
    if (!f)
        return vmt_err_set(err, ENOENT, "open %s", path);
    *ret_fd = memory_file();
    if (write(*ret_fd, f->data, f->len) != (ssize_t)f->len)
        abort();
    *ret_bytes = f->len;
    return 0;
}

static int
states_save(struct host *host, const char *path, const void *data, size_t len,
            struct vmt_err *err)
{
    int r = may_fail(of(host), "save a record of a state", err);

    if (r == 0)
        put(of(host), path, data, len);
    return r;
}

static int
states_load(struct host *host, const char *path, void **ret_data, size_t *ret_len,
            struct vmt_err *err)
{
    struct state_file *f = find(of(host), path);

    if (!f)
        return vmt_err_set(err, ENOENT, "load %s", path);
    *ret_data = malloc(f->len + 1);
    assert(*ret_data);
    memcpy(*ret_data, f->data, f->len);
    *ret_len = f->len;
    return 0;
}

static void
states_touch(struct host *host, const char *path)
{
    struct fake_states *s = of(host);
    struct state_file *f = find(s, path);

    if (f)
        f->used_ms = s->clock++;
}

/* Is path that file, or in that directory? */
static bool
is_within(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void
states_remove(struct host *host, const char *path)
{
    struct fake_states *s = of(host);

    for (size_t i = s->nfiles; i-- > 0;)
        if (is_within(s->files[i].path, path))
            forget(s, &s->files[i]);
}

struct listed {
    char name[128];
    struct host_state_entry entry;
};

static bool
is_listed(const struct listed *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return true;
    return false;
}

/* Names first: fn may remove. */
static int
states_each(struct host *host, const char *dir,
            void (*fn)(void *arg, const struct host_state_entry *entry), void *arg,
            struct vmt_err *err)
{
    struct fake_states *s = of(host);
    struct listed list[FILES_MAX];
    size_t n = 0, len = strlen(dir);
    int r = may_fail(s, "list states", err);

    for (size_t i = 0; r == 0 && i < s->nfiles; i++) {
        const struct state_file *f = &s->files[i];
        const char *rest = f->path + len + 1;
        struct listed *l = &list[n];

        if (!is_within(f->path, dir) || f->path[len] == '\0')
            continue;
        (void)snprintf(l->name, sizeof(l->name), "%.*s", (int)strcspn(rest, "/"), rest);
        l->entry = (struct host_state_entry){
            .is_dir = strchr(rest, '/'), .bytes = f->len, .used_ms = f->used_ms};
        n += !is_listed(list, n, l->name);
    }
    for (size_t i = 0; i < n; i++) {
        list[i].entry.name = list[i].name;
        fn(arg, &list[i].entry);
    }
    return r;
}

static void
states_sweep(struct host *host, const char *dir)
{
    (void)host;
    (void)dir;
}

static void
states_background(struct host *host, const struct spawn_id *id)
{
    (void)id;
    of(host)->backgrounds++;
}

const struct host_state_ops fake_states_ops = {
    .identify = states_identify,
    .path_of = states_path_of,
    .place = states_place,
    .create = states_create,
    .commit = states_commit,
    .drop = states_drop,
    .open = states_open,
    .save = states_save,
    .load = states_load,
    .touch = states_touch,
    .remove = states_remove,
    .each = states_each,
    .sweep = states_sweep,
    .background = states_background,
};

void
fake_states_free(const struct host *host)
{
    struct fake_states *s = of(host);

    while (s->nfiles)
        forget(s, s->files);
    vmt_list_remove(&s->node);
    free(s);
}

void
fake_states_fail_after(const struct host *host, unsigned skip, int error)
{
    of(host)->skip = skip;
    of(host)->error = error;
}

void
fake_states_set_identity(const struct host *host, const char *identity)
{
    (void)snprintf(of(host)->identity, sizeof(of(host)->identity), "%s",
                   identity ? identity : "");
}

size_t
fake_states_count(const struct host *host)
{
    return of(host)->nfiles;
}

size_t
fake_states_open(const struct host *host)
{
    size_t n = 0;

    for (size_t i = 0; i < OPEN_MAX; i++)
        n += of(host)->open[i] != 0;
    return n;
}

const char *
fake_states_path(const struct host *host, size_t index)
{
    return index < of(host)->nfiles ? of(host)->files[index].path : NULL;
}

void
fake_states_put(const struct host *host, const char *path)
{
    put(of(host), path, "x", 1);
}

void
fake_states_cut(const struct host *host, const char *path, size_t len)
{
    struct state_file *f = find(of(host), path);

    assert(f && f->len >= len);
    f->len = len;
}

void
fake_states_damage(const struct host *host, const char *path)
{
    struct state_file *f = find(of(host), path);

    assert(f && f->len);
    f->data[f->len - 1] ^= 1;
}

unsigned
fake_states_backgrounds(const struct host *host)
{
    return of(host)->backgrounds;
}
