/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/send.c - walk what is to be copied. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/copy/copy_internal.h"

/* One thing below an open folder. */
struct node {
    int dir;          /* borrowed, or AT_FDCWD */
    const char *name; /* in dir */
    const char *path; /* in the copy */
};

static void
closedirp(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

VMT_DEFINE_FREEP(struct sender, free)

static int node_send(struct sender *s, const struct node *node, bool follow);
static uint64_t node_measure(const struct copy_send *config, const struct node *node,
                             bool follow);

/* With the path as people gave it, where memory allows. */
static int
complain(struct sender *s, const struct node *node, int error, const char *what)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;

    if (asprintf(&path, "%.*s%s", s->prefix, s->source, node->path) < 0)
        path = NULL;
    copy_complain(&s->config->side, path ? path : node->path, error, what);
    return 0;
}

static bool
is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static struct copy_entry
entry_of(const struct stat *st, enum copy_type type, const char *path)
{
    return (struct copy_entry){
        .type = type,
        .mode = st->st_mode & 0777,
        .mtime_s = st->st_mtim.tv_sec,
        .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
        .size = type == COPY_FILE ? (uint64_t)st->st_size : 0,
        .path = path,
        .target = "",
    };
}

/* O_NONBLOCK: what is a FIFO by now must not hold us. */
static int
node_open(const struct node *node, int flags, bool follow)
{
    return openat(node->dir, node->name,
                  flags | O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
                      (follow ? 0 : O_NOFOLLOW));
}

static int
file_send(struct sender *s, const struct node *node, bool follow)
{
    VMT_CLEANUP(vmt_closep) int fd = node_open(node, 0, follow);
    struct copy_entry entry;
    struct stat st;
    const char *other;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return complain(s, node, errno, "open");
    if (!S_ISREG(st.st_mode))
        return complain(s, node, 0, "changed while it was looked at");
    other = send_seen(s, &st, node->path);
    entry = entry_of(&st, other ? COPY_HARDLINK : COPY_FILE, node->path);
    entry.target = other ? other : "";
    r = send_entry(s, &entry);
    if (r < 0)
        return r;
    if (other) {
        s->config->side.totals.files++;
        return 0;
    }
    r = send_xattrs(s, fd);
    return r < 0 ? r : send_content(s, fd, entry.size, node->path);
}

static int
symlink_send(struct sender *s, const struct node *node, const struct stat *st)
{
    struct copy_entry entry = entry_of(st, COPY_SYMLINK, node->path);
    char target[COPY_PATH_MAX + 1];
    ssize_t n = readlinkat(node->dir, node->name, target, sizeof(target));

    if (n < 0 || (size_t)n == sizeof(target))
        return complain(s, node, n < 0 ? errno : ENAMETOOLONG, "read the link");
    target[n] = '\0';
    entry.target = target;
    s->config->side.totals.files++;
    return send_entry(s, &entry);
}

/* The next thing in an open folder: its name, NULL at the end or with *ret_error a
 * positive errno; and its path, malloc'ed. */
static const char *
folder_next(DIR *dir, const char *path, char **ret_path, int *ret_error)
{
    const struct dirent *e;

    do {
        errno = 0;
        e = readdir(dir);
    } while (e && is_dots(e->d_name));
    *ret_error = e ? 0 : errno;
    if (!e)
        return NULL;
    if (asprintf(ret_path, "%s/%s", path, e->d_name) >= 0)
        return e->d_name;
    *ret_path = NULL;
    *ret_error = ENOMEM;
    return NULL;
}

/* NULL: errno tells. */
static DIR *
folder_open(const struct node *node, bool follow)
{
    VMT_CLEANUP(vmt_closep) int fd = node_open(node, O_DIRECTORY, follow);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir)
        (void)vmt_take_fd(&fd);
    return dir;
}

static int
folder_send_all(struct sender *s, const struct node *node, DIR *dir)
{
    int r = 0, error = 0;

    while (r == 0) {
        VMT_CLEANUP(vmt_freep) char *path = NULL;
        const char *name = folder_next(dir, node->path, &path, &error);
        struct node child = {dirfd(dir), name, path};

        if (!name)
            break;
        r = node_send(s, &child, false);
    }
    return error ? complain(s, node, error, "read") : r;
}

static int
folder_send(struct sender *s, const struct node *node, const struct stat *st, bool follow)
{
    VMT_CLEANUP(closedirp) DIR *dir = NULL;
    struct copy_entry entry = entry_of(st, COPY_FOLDER, node->path);
    int r;

    if (!s->config->recursive)
        return complain(s, node, 0, "is a folder; copy it with --recursive");
    dir = folder_open(node, follow);
    if (!dir)
        return complain(s, node, errno, "open");
    r = send_entry(s, &entry);
    if (r == 0)
        r = send_xattrs(s, dirfd(dir));
    if (r == 0)
        r = folder_send_all(s, node, dir);
    entry.type = COPY_FOLDER_END;
    s->config->side.totals.files++;
    return r < 0 ? r : send_entry(s, &entry);
}

static int
node_send(struct sender *s, const struct node *node, bool follow)
{
    struct stat st;

    if (copy_stopped())
        return -EINTR;
    if (!copy_path_ok(node->path))
        return complain(s, node, 0, "has a name that cannot be copied");
    if (fstatat(node->dir, node->name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        return complain(s, node, errno, NULL);
    if (S_ISREG(st.st_mode))
        return file_send(s, node, follow);
    if (S_ISDIR(st.st_mode))
        return folder_send(s, node, &st, follow);
    if (S_ISLNK(st.st_mode))
        return symlink_send(s, node, &st);
    return complain(s, node, 0, "is no file, folder or symbolic link");
}

static uint64_t
folder_measure(const struct copy_send *config, const struct node *node, bool follow)
{
    VMT_CLEANUP(closedirp)
    DIR *dir = config->recursive ? folder_open(node, follow) : NULL;
    uint64_t total = 0;

    while (dir && !copy_stopped()) {
        VMT_CLEANUP(vmt_freep) char *path = NULL;
        int error;
        const char *name = folder_next(dir, node->path, &path, &error);
        struct node child = {dirfd(dir), name, path};

        if (!name)
            break;
        total += node_measure(config, &child, false);
    }
    return total;
}

/* About how many bytes will come, for people: what is allocated, if that is less than the
 * size. */
static uint64_t
node_measure(const struct copy_send *config, const struct node *node, bool follow)
{
    uint64_t allocated;
    struct stat st;

    if (fstatat(node->dir, node->name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        return folder_measure(config, node, follow);
    allocated = (uint64_t)st.st_blocks * 512;
    if (!S_ISREG(st.st_mode))
        return 0;
    return allocated < (uint64_t)st.st_size ? allocated : (uint64_t)st.st_size;
}

static int
send_start(struct sender *s)
{
    struct copy_send *config = s->config;
    uint64_t total = config->content >= 0 ? COPY_SIZE_UNKNOWN : 0;
    uint8_t record[COPY_RECORD_MAX];

    for (size_t i = 0; config->content < 0 && i < config->nsources; i++) {
        struct node node = {AT_FDCWD, config->sources[i], "x"};

        total += node_measure(config, &node, !config->recursive);
    }
    config->side.totals.total = total;
    return out_write(&s->out, record, copy_start_encode(total, record));
}

static int
send_source(struct sender *s, const char *source)
{
    VMT_CLEANUP(vmt_freep) char *name = NULL;
    int r = copy_path_name(source, &name);
    struct node node = {AT_FDCWD, source, name};

    if (r == -EINVAL) {
        copy_complain(&s->config->side, source, 0,
                      "has no name that the copy could have");
        return 0;
    }
    if (r < 0)
        return r;
    s->source = source;
    s->prefix = (int)(strstr(source, name) - source);
    for (const char *at = source; (at = strstr(at, name)); at++)
        s->prefix = (int)(at - source); /* the last one is the name */
    return node_send(s, &node, !s->config->recursive);
}

static int
send_descriptor(struct sender *s)
{
    struct copy_entry entry = {
        .type = COPY_FILE,
        .mode = 0644,
        .mtime_s = time(NULL),
        .size = COPY_SIZE_UNKNOWN,
        .path = s->config->content_name,
        .target = "",
    };
    int r = send_entry(s, &entry);

    return r < 0 ? r : send_stream(s, s->config->content, "-");
}

int
copy_send(struct copy_send *config, struct vmt_err *err)
{
    VMT_CLEANUP(freep) struct sender *s = calloc(1, sizeof(*s));
    uint8_t record[COPY_RECORD_MAX];
    int r;

    if (!s)
        return vmt_err_set(err, ENOMEM, "copy");
    s->config = config;
    s->out.fd = config->out;
    r = send_start(s);
    if (r == 0 && config->content >= 0)
        r = send_descriptor(s);
    for (size_t i = 0; r == 0 && config->content < 0 && i < config->nsources; i++)
        r = send_source(s, config->sources[i]);
    if (r == 0)
        r = out_write(&s->out, record, copy_end_encode(record));
    if (r == 0)
        r = out_flush(&s->out);
    send_seen_done(s);
    copy_complaints_end(&config->side);
    return r < 0 ? vmt_err_set(err, -r, "send the files") : 0;
}
