/* SPDX-License-Identifier: BSD-3-Clause */
/* Tell on the console which disks and network devices there are, and what changes. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/contract/hypervisor/guest.h"

/* In the order of their dependencies; those that are built in are not there. */
static const char *const modules[] = {
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_balloon",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "usb-common",
    "usbcore",
    "xhci-hcd",
    "xhci-pci",
};

#define SEEN_MAX 16

struct seen {
    char name[32]; /* directory in sysfs */
    char what[96]; /* as told */
};

static void
tell(const char *before, const char *what)
{
    char line[128];

    (void)snprintf(line, sizeof(line), "%s%s\n", before, what);
    say(line);
}

static void
load_modules(void)
{
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
        char path[64];
        int fd;

        (void)snprintf(path, sizeof(path), "/%s.ko", modules[i]);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (syscall(SYS_finit_module, fd, "", 0) != 0)
            tell("cannot load ", path);
        (void)close(fd);
    }
}

/* The first line of a file; "" when there is none. */
static void
read_line(const char *dir, const char *name, const char *file, char *line, size_t cap)
{
    char path[512];
    FILE *f;

    line[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/%s/%s", dir, name, file);
    f = fopen(path, "r");
    if (!f)
        return;
    if (!fgets(line, (int)cap, f))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    (void)fclose(f);
}

/* "disk <serial> <bytes>" or "nic <address>"; false: not ready, or not to be told. */
static bool
describe(const char *dir, const char *name, char *what, size_t cap)
{
    char first[64], second[64];

    if (strcmp(dir, "/sys/block") == 0) {
        read_line(dir, name, "serial", first, sizeof(first));
        read_line(dir, name, "size", second, sizeof(second));
        (void)snprintf(what, cap, "disk %s %llu", first,
                       512 * strtoull(second, NULL, 10));
        return first[0] && second[0];
    }
    read_line(dir, name, "address", first, sizeof(first));
    (void)snprintf(what, cap, "nic %s", first);
    return strcmp(name, "lo") != 0 && first[0];
}

static struct seen *
find(struct seen *all, const char *name)
{
    for (size_t i = 0; i < SEEN_MAX; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

static void
look(const char *dir, struct seen *all)
{
    DIR *d = opendir(dir);
    char what[96];
    bool there[SEEN_MAX] = {false};

    for (struct dirent *e; d && (e = readdir(d));) {
        struct seen *s = find(all, e->d_name);

        if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof(s->name) ||
            !describe(dir, e->d_name, what, sizeof(what)))
            continue;
        if (!s)
            s = find(all, "");
        if (!s)
            continue;
        there[s - all] = true;
        if (strcmp(s->what, what) != 0)
            tell("", what);
        (void)snprintf(s->name, sizeof(s->name), "%.31s", e->d_name);
        (void)snprintf(s->what, sizeof(s->what), "%s", what);
    }
    if (d)
        (void)closedir(d);
    for (size_t i = 0; i < SEEN_MAX; i++) {
        if (there[i] || !all[i].name[0])
            continue;
        /* Its size is of no interest any more. */
        if (strrchr(all[i].what, ' ') != strchr(all[i].what, ' '))
            *strrchr(all[i].what, ' ') = '\0';
        tell("no ", all[i].what);
        memset(&all[i], 0, sizeof(all[i]));
    }
}

void
watch_devices(void)
{
    static struct seen disks[SEEN_MAX], nics[SEEN_MAX];

    (void)mkdir("/sys", 0555);
    (void)mount("sysfs", "/sys", "sysfs", 0, NULL);
    load_modules();
    look("/sys/block", disks);
    look("/sys/class/net", nics);
    say("devices are watched\n");
    for (;;) {
        (void)usleep(50000); /* a guest has no other way to see an attribute change */
        look("/sys/block", disks);
        look("/sys/class/net", nics);
    }
}
