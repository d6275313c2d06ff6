/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/report.h"

#define SIGNATURE_MAGIC "~Module signature appended~\n"
#define SIGNATURE_MAGIC_LEN (sizeof(SIGNATURE_MAGIC) - 1)
#define SIGNATURE_INFO_LEN 12 /* struct module_signature */
#define LIST_BYTES_MAX (64ul * 1024)

size_t
modules_unsigned_len(const uint8_t *data, size_t len)
{
    const uint8_t *at;
    uint64_t sig_len;

    if (len < SIGNATURE_INFO_LEN + SIGNATURE_MAGIC_LEN ||
        memcmp(data + len - SIGNATURE_MAGIC_LEN, SIGNATURE_MAGIC, SIGNATURE_MAGIC_LEN) !=
            0)
        return len;
    at = data + len - SIGNATURE_MAGIC_LEN - 4; /* the length, big-endian, ends the info */
    sig_len =
        (uint64_t)at[0] << 24 | (uint64_t)at[1] << 16 | (uint64_t)at[2] << 8 | at[3];
    if (sig_len > len - SIGNATURE_INFO_LEN - SIGNATURE_MAGIC_LEN)
        return len;
    return len - SIGNATURE_INFO_LEN - SIGNATURE_MAGIC_LEN - (size_t)sig_len;
}

/* Give the kernel a module without its signature. The check takes it ten million
 * instructions for each module, half of our time under emulation, and says nothing here:
 * the module comes from the same initramfs as we do. A kernel that insists on signatures
 * refuses, and gets the whole file. */
static int
load_unsigned(int fd)
{
    struct stat st;
    void *map;
    int r;

    if (fstat(fd, &st) < 0 || st.st_size <= 0)
        return -EINVAL;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    r = (int)syscall(SYS_init_module, map, modules_unsigned_len(map, (size_t)st.st_size),
                     "") < 0
            ? -errno
            : 0;
    (void)munmap(map, (size_t)st.st_size);
    return r;
}

/* Load an open module. One that is there already is fine. */
static int
module_load_fd(int fd, const char *name, struct vmt_err *err)
{
    int r = load_unsigned(fd);

    if (r < 0 && r != -EEXIST && syscall(SYS_finit_module, fd, "", 0) < 0 &&
        errno != EEXIST)
        return vmt_err_set(err, errno, "load module %s", name);
    vmt_log_debug("loaded module %s", name);
    return 0;
}

static int
module_open(const char *dir, const char *name, int *ret_fd, struct vmt_err *err)
{
    char path[PATH_MAX];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "open module %s", path);
    *ret_fd = fd;
    return 0;
}

static int
module_load_path(const char *dir, const char *name, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = module_open(dir, name, &fd, err);

    return r < 0 ? r : module_load_fd(fd, name, err);
}

/* Take the next non-empty line off *text; NULL at the end. */
static char *
next_line(char **text)
{
    while (**text) {
        char *line = *text, *end = strchrnul(line, '\n');

        *text = *end ? end + 1 : end;
        *end = '\0';
        if (*line && *line != '#')
            return line;
    }
    return NULL;
}

void
modules_load_listed(const char *dir, struct report *report)
{
    VMT_CLEANUP(vmt_freep) char *list = NULL;
    char path[PATH_MAX], *rest, *line;

    (void)snprintf(path, sizeof(path), "%s/load.list", dir);
    if (file_read(path, LIST_BYTES_MAX, &list) < 0)
        return;
    rest = list;
    while ((line = next_line(&rest))) {
        struct vmt_err err;

        if (module_load_path(dir, line, &err) < 0)
            report_degraded(report, "%s", err.msg);
    }
}

/* "pvpanic-pci.ko" is the module pvpanic_pci. */
static void
module_name(const char *file, char name[MODULES_NAME_MAX])
{
    const char *base = strrchr(file, '/');
    size_t n;

    base = base ? base + 1 : file;
    n = strcspn(base, ".");
    if (n >= MODULES_NAME_MAX)
        n = MODULES_NAME_MAX - 1;
    for (size_t i = 0; i < n; i++)
        name[i] = base[i] == '-' ? '_' : base[i];
    name[n] = '\0';
}

void
modules_open_late(struct modules *m, const char *dir, struct report *report)
{
    VMT_CLEANUP(vmt_freep) char *list = NULL;
    char path[PATH_MAX], *rest, *line;

    (void)snprintf(path, sizeof(path), "%s/late.list", dir);
    if (file_read(path, LIST_BYTES_MAX, &list) < 0)
        return;
    rest = list;
    while ((line = next_line(&rest)) && m->n < MODULES_LATE_MAX) {
        struct vmt_err err;

        if (module_open(dir, line, &m->late[m->n].fd, &err) < 0) {
            report_degraded(report, "%s", err.msg);
            continue;
        }
        module_name(line, m->late[m->n++].name);
    }
}

void
modules_load_next(struct modules *m, struct report *report)
{
    struct vmt_err err;

    if (!modules_left(m))
        return;
    if (module_load_fd(m->late[m->next].fd, m->late[m->next].name, &err) < 0)
        report_degraded(report, "%s", err.msg);
    (void)close(m->late[m->next].fd);
    m->late[m->next].fd = -1;
    m->next++;
}

bool
modules_fs_known(const char *fs)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    size_t len = strlen(fs);
    const char *at;

    if (file_read("/proc/filesystems", LIST_BYTES_MAX, &text) < 0)
        return false;
    for (at = text; (at = strstr(at, fs)); at++) {
        if (at > text && at[-1] == '\t' && at[len] == '\n')
            return true;
    }
    return false;
}

void
modules_load_through(struct modules *m, const char *name, struct report *report)
{
    size_t i = m->next;

    while (i < m->n && strcmp(m->late[i].name, name) != 0)
        i++;
    while (i < m->n && m->next <= i)
        modules_load_next(m, report);
}

static bool
module_loaded(const char *name)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "/sys/module/%s", name);
    return access(path, F_OK) == 0;
}

void
modules_need_fs(struct modules *m, const char *fs, const char *extra,
                struct report *report)
{
    while (m->next < m->n && (!modules_fs_known(fs) || (extra && !module_loaded(extra))))
        modules_load_next(m, report);
}
