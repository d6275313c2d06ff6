/* SPDX-License-Identifier: BSD-3-Clause */
/* The links of devices.h. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/devices.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/mounts.h"
#include "platform/linux/os/dir.h"

#define PREFIX "virtio-"
#define SERIAL_MAX 256
#define TEMPORARY ".new"

/* Disks and partitions that are there: link and device of each. */
struct links {
    char (*names)[DEVICES_NAME_MAX]; /* owned */
    size_t n;
};

static void
links_done(struct links *links)
{
    free(links->names);
}

bool
devices_link_name(const char *serial, unsigned partition, char name[DEVICES_NAME_MAX])
{
    size_t len = strlen(serial);
    int n;

    while (len > 0 && isspace((unsigned char)serial[len - 1]))
        len--;
    if (len == 0 || len + sizeof(PREFIX) + 16 > DEVICES_NAME_MAX)
        return false;
    n = snprintf(name, DEVICES_NAME_MAX, PREFIX "%.*s", (int)len, serial);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("#+-.:=@_", *c))
            *c = '_';
    if (partition)
        (void)snprintf(name + n, DEVICES_NAME_MAX - (size_t)n, "-part%u", partition);
    return true;
}

/* Of two disks with one serial the first keeps the link. */
static bool
has(const struct links *links, const char *name)
{
    for (size_t i = 0; i < links->n; i++)
        if (strcmp(links->names[i], name) == 0)
            return true;
    return false;
}

static int
add_link(struct links *links, const char *dir, const char *name, const char *device)
{
    char target[NAME_MAX + 8], path[PATH_MAX], now[PATH_MAX], temporary[PATH_MAX];
    void *grown;
    ssize_t n;

    if (has(links, name))
        return 0;
    grown = reallocarray(links->names, links->n + 1, sizeof(*links->names));
    if (!grown)
        return -ENOMEM;
    links->names = grown;
    (void)snprintf(links->names[links->n++], DEVICES_NAME_MAX, "%s", name);
    (void)snprintf(target, sizeof(target), "../../%s", device);
    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= PATH_MAX ||
        snprintf(temporary, sizeof(temporary), "%s/" TEMPORARY, dir) >= PATH_MAX)
        return -ENAMETOOLONG;
    n = readlink(path, now, sizeof(now) - 1);
    if (n >= 0) {
        now[n] = '\0';
        if (strcmp(now, target) == 0)
            return 0;
    }
    (void)unlink(temporary);
    if (symlink(target, temporary) < 0 || rename(temporary, path) < 0)
        return -errno;
    return 0;
}

/* Number of a partition below its disk, 0: it is none. */
static unsigned
partition_number(const char *sys_block, const char *disk, const char *name)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char path[PATH_MAX];

    if (!vmt_str_has_prefix(name, disk) ||
        snprintf(path, sizeof(path), "%s/%s/%s/partition", sys_block, disk, name) >=
            PATH_MAX ||
        file_read(path, 32, &text) < 0)
        return 0;
    return (unsigned)strtoul(text, NULL, 10);
}

static int
link_partitions(struct links *links, const char *sys_block, const char *dir,
                const char *disk, const char *serial)
{
    char path[PATH_MAX], name[DEVICES_NAME_MAX];
    VMT_CLEANUP(os_closedirp) DIR *parts = NULL;
    struct dirent *e;
    int r = 0;

    if (snprintf(path, sizeof(path), "%s/%s", sys_block, disk) >= PATH_MAX)
        return -ENAMETOOLONG;
    parts = opendir(path);
    while (r == 0 && parts && (e = readdir(parts))) {
        unsigned n = partition_number(sys_block, disk, e->d_name);

        if (n && devices_link_name(serial, n, name))
            r = add_link(links, dir, name, e->d_name);
    }
    return r;
}

static int
link_disk(struct links *links, const char *sys_block, const char *dir, const char *disk)
{
    VMT_CLEANUP(vmt_freep) char *serial = NULL;
    char path[PATH_MAX], name[DEVICES_NAME_MAX];
    int r;

    if (snprintf(path, sizeof(path), "%s/%s/serial", sys_block, disk) >= PATH_MAX ||
        file_read(path, SERIAL_MAX, &serial) < 0 || !devices_link_name(serial, 0, name))
        return 0;
    r = add_link(links, dir, name, disk);
    return r < 0 ? r : link_partitions(links, sys_block, dir, disk, serial);
}

static void
remove_gone(const struct links *links, const char *dir)
{
    VMT_CLEANUP(os_closedirp) DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d)))
        if (vmt_str_has_prefix(e->d_name, PREFIX) && !has(links, e->d_name))
            (void)unlinkat(dirfd(d), e->d_name, 0);
}

int
devices_link_disks(const char *sys_block, const char *dir, struct vmt_err *err)
{
    VMT_CLEANUP(os_closedirp) DIR *disks = opendir(sys_block);
    VMT_CLEANUP(links_done) struct links links = {0};
    struct dirent *e;
    int r;

    if (!disks)
        return vmt_err_set(err, errno, "list the disks");
    r = mounts_mkdir_p(dir, 0755, err);
    if (r < 0)
        return r;
    while (r == 0 && (e = readdir(disks)))
        if (vmt_str_has_prefix(e->d_name, "vd")) /* others have no such attribute */
            r = link_disk(&links, sys_block, dir, e->d_name);
    if (r < 0)
        return vmt_err_set(err, -r, "link the disks");
    remove_gone(&links, dir);
    return 0;
}
