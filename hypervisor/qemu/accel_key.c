/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/accel_key.c - the things that a verdict about KVM depends on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "hypervisor/qemu/accel_internal.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/state_file_internal.h"

const char *
accel_read_text(const char *path, char *buf, size_t cap)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    while (fd >= 0 && len < cap - 1) {
        ssize_t n = read(fd, buf + len, cap - 1 - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    buf[len] = '\0';
    return buf;
}

/* The value of "name : value" in the text of /proc/cpuinfo, not ended by a NUL; *ret_len
 * is 0 without one. */
static const char *
find_cpu_field(const char *cpuinfo, const char *name, size_t *ret_len)
{
    const char *line = strstr(cpuinfo, name);
    const char *value = line ? strchr(line, ':') : NULL;

    *ret_len = 0;
    if (!value)
        return "";
    value += 1 + (value[1] == ' ');
    *ret_len = strcspn(value, "\n");
    return value;
}

static void
set_cpu_field(json_t *key, const char *cpuinfo, const char *name)
{
    size_t len;
    const char *value = find_cpu_field(cpuinfo, name, &len);

    if (len)
        json_object_set_new(key, name, json_stringn(value, len));
}

static int
describe_stat(const struct stat *st, char *buf, size_t cap)
{
    return snprintf(buf, cap, "%llu:%llu size %lld mtime %lld.%09ld",
                    (unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
                    (long long)st->st_size, (long long)st->st_mtim.tv_sec,
                    st->st_mtim.tv_nsec);
}

static void
set_stat(json_t *key, const char *name, const struct stat *st)
{
    char text[160];

    (void)describe_stat(st, text, sizeof(text));
    json_object_set_new(key, name, json_string(text));
}

/* Where exec finds binary; the caller frees it, NULL when it is nowhere. */
static char *
find_in_path(const char *binary)
{
    const char *dir = getenv("PATH");

    if (strchr(binary, '/'))
        return strdup(binary);
    if (!dir)
        dir = "/usr/local/bin:/usr/bin:/bin";
    for (size_t len; *dir; dir += len + (dir[len] == ':')) {
        char *candidate = NULL;

        len = strcspn(dir, ":");
        if (asprintf(&candidate, "%.*s/%s", (int)len, dir, binary) < 0)
            return NULL;
        if (access(candidate, X_OK) == 0)
            return candidate;
        free(candidate);
    }
    return NULL;
}

static void
set_binary(json_t *key, const char *binary)
{
    VMT_CLEANUP(vmt_freep) char *path = find_in_path(binary);
    struct stat st;

    if (!path || stat(path, &st) < 0)
        return;
    json_object_set_new(key, "qemu", json_string(path));
    set_stat(key, "qemu file", &st);
}

/* Another package or build is another file, or the same one changed. A guest under KVM
 * keeps what it found in the processor, and what the host's kernel made of it. The first
 * number is that of our own part of a state. */
int
qemu_build_id(struct hypervisor *hv, char *buf, size_t cap, struct vmt_err *err)
{
    const struct qemu *self = VMT_CONTAINER_OF(hv, struct qemu, base);
    VMT_CLEANUP(vmt_freep) char *path = find_in_path(self->binary);
    char file[160], cpuinfo[8192];
    struct utsname host = {0};
    struct stat st;
    const char *cpu;
    size_t ncpu;
    int n;

    if (!path)
        return qemu_missing(self, err);
    if (stat(path, &st) < 0)
        return vmt_err_set(err, errno, "look at %s", path);
    (void)describe_stat(&st, file, sizeof(file));
    cpu = find_cpu_field(accel_read_text("/proc/cpuinfo", cpuinfo, sizeof(cpuinfo)),
                         "model name", &ncpu);
    (void)uname(&host);
    n = snprintf(buf, cap, "qemu state %u %s %s cpu %.*s linux %s", STATE_VERSION, path,
                 file, (int)ncpu, cpu, host.release);
    if (n < 0 || (size_t)n >= cap)
        return vmt_err_setx(err, ENAMETOOLONG, "%s has too long a name", path);
    return 0;
}

static int
is_kvm_module(const struct dirent *entry)
{
    return vmt_str_has_prefix(entry->d_name, "kvm");
}

static void
set_modules(json_t *key)
{
    struct dirent **names = NULL;
    int n = scandir("/sys/module", &names, is_kvm_module, alphasort);
    char list[256] = "";
    size_t used = 0;

    for (int i = 0; i < n; i++) {
        if (used < sizeof(list))
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s ",
                                     names[i]->d_name);
        free(names[i]);
    }
    free(names);
    json_object_set_new(key, "kvm modules", json_string(list));
}

json_t *
accel_key_new(const char *binary, int kernel_fd)
{
    json_t *key = json_object();
    char text[8192];
    struct utsname host;
    struct stat st;

    if (!key)
        return NULL;
    (void)accel_read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text));
    json_object_set_new(key, "boot", json_stringn(text, strcspn(text, "\n")));
    if (uname(&host) == 0)
        json_object_set_new(key, "kernel", json_string(host.release));
    (void)accel_read_text("/proc/cpuinfo", text, sizeof(text));
    set_cpu_field(key, text, "model name");
    set_cpu_field(key, text, "microcode");
    set_binary(key, binary);
    set_modules(key);
    if (fstat(kernel_fd, &st) == 0)
        set_stat(key, "guest kernel file", &st);
    return key;
}
