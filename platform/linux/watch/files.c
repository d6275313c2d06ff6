/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/watch/files.c - which names in which folders decide what a path means.
 *
 * A watch of the file itself would be lost with the file, and programs replace these
 * files by rename. So the folder of each name on the way is watched: of the path, and of
 * what each symbolic link points to. A folder that is not there is waited for in the
 * folder above it. The file at the end is watched, too: where it is mounted, as container
 * managers do with resolv.conf, its folder does not see what is written to it. Source:
 * inotify(7). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/watch/watch_internal.h"

#define LINKS_MAX 8
#define EVENTS                                                                           \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |              \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_MASK_ADD)
#define FILE_EVENTS (IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_MASK_ADD)
#define BUFFER_BYTES 4096

/* Cut path at its last component. Returns that; path is the folder then. */
static char *
split(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash)
        return NULL;
    *slash = '\0';
    return slash + 1;
}

/* A name in dir, or with name "" dir itself, which is a file then. */
static int
add_place(struct watch_files *files, const char *dir, const char *name,
          enum host_change what)
{
    struct watch_place *p = &files->places[files->n];
    int wd;

    if (files->n == WATCH_PLACES_MAX || strlen(name) > NAME_MAX)
        return -ENOSPC;
    wd = inotify_add_watch(files->fd, *dir ? dir : "/", *name ? EVENTS : FILE_EVENTS);
    if (wd < 0)
        return -errno;
    p->wd = wd;
    p->what = what;
    memcpy(p->name, name, strlen(name) + 1);
    files->n++;
    return 0;
}

/* Watch the name at the end of path, or what comes first of what is missing. */
static int
add_name(struct watch_files *files, const char *path, enum host_change what)
{
    char dir[PATH_MAX];
    const char *name;
    int r;

    (void)snprintf(dir, sizeof(dir), "%s", path);
    do {
        name = split(dir);
        r = name ? add_place(files, dir, name, what) : 0;
    } while (name && (r == -ENOENT || r == -ENOTDIR));
    return r;
}

/* What a link at path points to, as a path of its own. Returns whether it is one. */
static bool
follow_link(const char *path, char target[PATH_MAX])
{
    char text[PATH_MAX], dir[PATH_MAX];
    ssize_t n = readlink(path, text, sizeof(text) - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    if (text[0] == '/') {
        memcpy(target, text, (size_t)n + 1);
        return true;
    }
    (void)snprintf(dir, sizeof(dir), "%s", path);
    (void)split(dir);
    return snprintf(target, PATH_MAX, "%s/%s", dir, text) < PATH_MAX;
}

static int
add_path(struct watch_files *files, const char *path, enum host_change what)
{
    char at[PATH_MAX], next[PATH_MAX];
    int r = 0;

    (void)snprintf(at, sizeof(at), "%s", path);
    for (int i = 0; i < LINKS_MAX; i++) {
        int one = add_name(files, at, what);

        if (one < 0)
            r = one;
        if (!follow_link(at, next)) {
            (void)add_place(files, at, "", what); /* missing: its folder tells */
            break;
        }
        memcpy(at, next, sizeof(at));
    }
    return r;
}

static int
add_paths(struct watch_files *files, const char *const *paths, enum host_change what)
{
    int r = 0;

    for (; *paths; paths++) {
        int one = add_path(files, *paths, what);

        if (one < 0)
            r = one;
    }
    return r;
}

int
watch_files_set(struct watch_files *files, const struct linux_watch_config *config)
{
    int dns, zone;

    for (size_t i = 0; i < files->n; i++) /* the same one twice fails, and may */
        (void)inotify_rm_watch(files->fd, files->places[i].wd);
    files->n = 0;
    dns = add_paths(files, config->dns, HOST_CHANGE_DNS);
    zone = add_paths(files, config->zone, HOST_CHANGE_ZONE);
    return dns < 0 ? dns : zone;
}

static void
note(const struct watch_files *files, const struct inotify_event *e,
     bool changed[HOST_CHANGE_COUNT])
{
    for (size_t i = 0; i < files->n; i++) {
        const struct watch_place *p = &files->places[i];
        bool self = (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0 ||
                    (!*p->name && (e->mask & IN_CLOSE_WRITE));

        if (e->mask & IN_Q_OVERFLOW)
            changed[p->what] = true;
        if (p->wd == e->wd && (self || (e->len && strcmp(e->name, p->name) == 0)))
            changed[p->what] = true;
    }
}

void
watch_files_read(struct watch_files *files, bool changed[HOST_CHANGE_COUNT])
{
    _Alignas(struct inotify_event) char buf[BUFFER_BYTES];
    ssize_t n = read(files->fd, buf, sizeof(buf));

    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e =
            (const struct inotify_event *)(const void *)(buf + at);

        note(files, e, changed);
        at += (ssize_t)(sizeof(*e) + e->len);
    }
}
