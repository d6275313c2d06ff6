/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/cgroup.c - one cgroup per VM in the tree that was delegated to us.
 *
 * A group whose controllers are enabled for its children holds no process itself, so the
 * daemon moves to a child of its own first, unless its service manager put it there. What
 * it needs is a group that is its own to change and that nobody else is in: a unit with
 * Delegate=yes, or the root of a container. Without one it leaves everything as it is.
 * Sources: Documentation/admin-guide/cgroup-v2.rst of Linux 6.1, "No Internal Process
 * Constraint" and "Delegation"; systemd.resource-control(5), Delegate= and
 * DelegateSubgroup=. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/host/host_internal.h"

#define CONTROL_GROUP ".control" /* where systemd starts ExecStopPost= */
#define OWN_GROUP "daemon"       /* also DelegateSubgroup= of the unit */
#define ROOT_GROUP "vm_tools-"   /* and a number: ours below a root that nobody manages */
#define VM_PREFIX "vm."          /* of the directories that VMs have */
#define VM_TASKS_MAX                                                                     \
    "4096" /* threads of a VM's processes: QEMU has one per vcpu, and 64                 \
            * for disks */

static bool
has_suffix(const char *text, const char *suffix)
{
    size_t len = strlen(text), n = strlen(suffix);

    return len >= n && strcmp(text + len - n, suffix) == 0;
}

static struct linux_host *
self_of(struct host *host)
{
    return VMT_CONTAINER_OF(host, struct linux_host, base);
}

/* sys_root, tree, "/", name and so on. Returns 0 or -ENAMETOOLONG. */
__attribute__((format(printf, 3, 4))) static int
make_path(const struct linux_host *self, char path[PATH_MAX], const char *fmt, ...)
{
    size_t root = strlen(self->sys_root);
    va_list ap;
    int n;

    if (root >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, self->sys_root, root);
    va_start(ap, fmt);
    n = vsnprintf(path + root, PATH_MAX - root, fmt, ap);
    va_end(ap);
    return n < 0 || (size_t)n >= PATH_MAX - root ? -ENAMETOOLONG : 0;
}

static int
write_text(const char *path, const char *text)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int
write_in(const struct linux_host *self, const char *group, const char *file,
         const char *text)
{
    char path[PATH_MAX];
    int r = make_path(self, path, "%s/%s", group, file);

    return r < 0 ? r : write_text(path, text);
}

/* Is every process of the group ourselves? */
static bool
is_alone(const struct linux_host *self, const char *group)
{
    char path[PATH_MAX], text[LINUX_HOST_TEXT_MAX];

    if ((size_t)snprintf(path, sizeof(path), "%s/cgroup.procs", group) >= sizeof(path))
        return false;
    linux_host_read_text(self, path, text);
    for (char *at = text; *at;) {
        char *end;
        long pid = strtol(at, &end, 10);

        if (end == at || pid != getpid())
            return false;
        at = end + strspn(end, "\n");
    }
    return true;
}

/* systemd marks what it delegated; root could write anywhere, and must not. */
static bool
is_delegated(const struct linux_host *self, const char *group)
{
    char path[PATH_MAX], mark[2];

    if (make_path(self, path, "/run/systemd/system") < 0 || access(path, F_OK) < 0)
        return true; /* nobody else manages groups */
    if (make_path(self, path, "%s", group) < 0)
        return false;
    return getxattr(path, "user.delegate", mark, sizeof(mark)) > 0 ||
           getxattr(path, "trusted.delegate", mark, sizeof(mark)) > 0;
}

static bool
is_writable(const struct linux_host *self, const char *group)
{
    static const char *const files[] = {"", "cgroup.procs", "cgroup.subtree_control"};
    char path[PATH_MAX];

    for (size_t i = 0; i < VMT_ARRAY_SIZE(files); i++)
        if (make_path(self, path, "%s/%s", group, files[i]) < 0 || access(path, W_OK) < 0)
            return false;
    return true;
}

static int
make_group(const struct linux_host *self, const char *group)
{
    char path[PATH_MAX];
    int r = make_path(self, path, "%s", group);

    if (r < 0)
        return r;
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* FNV-1a: daemons with different directories have different groups below the root. */
static uint32_t
hash(const char *text)
{
    uint32_t h = 2166136261u;

    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 16777619u;
    return h;
}

static bool
has_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = strstr(text, word); at; at = strstr(at + len, word))
        if ((at == text || at[-1] == ' ') && strchr(" \n", at[len]))
            return true;
    return false;
}

/* Of those that may be enabled for children of group. */
static bool
has_controllers(const struct linux_host *self, const char *group)
{
    char path[PATH_MAX], text[LINUX_HOST_TEXT_MAX];

    if ((size_t)snprintf(path, sizeof(path), "%s/cgroup.controllers", group) >=
        sizeof(path))
        return false;
    linux_host_read_text(self, path, text);
    return has_word(text, "cpu") || has_word(text, "memory") || has_word(text, "pids");
}

/* Leave the group that shall hold those of the VMs. */
static int
move_self(const struct linux_host *self, const char *group, struct vmt_err *err)
{
    char path[PATH_MAX], pid[16];
    int r;

    if (!is_alone(self, group))
        return vmt_err_setx(
            err, EBUSY,
            "other programs are in the cgroup of this daemon; start it as "
            "a unit of its own with Delegate=yes");
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    if ((size_t)snprintf(path, sizeof(path), "%s/" OWN_GROUP, group) >= sizeof(path))
        return vmt_err_set(err, ENAMETOOLONG, "make a cgroup");
    r = make_group(self, path);
    if (r == 0)
        r = write_in(self, path, "cgroup.procs", pid);
    return r < 0 ? vmt_err_set(err, -r, "move to the cgroup %s", path) : 0;
}

/* Find the group that may hold those of the VMs, and be in a child of it or elsewhere. */
static int
find_tree(const struct linux_host *self, char tree[PATH_MAX], struct vmt_err *err)
{
    size_t mount_len, len;

    if (linux_host_own_cgroup(self, tree, PATH_MAX, &mount_len) < 0)
        return vmt_err_setx(err, ENOTSUP, "this host has no cgroups of version 2");
    len = strlen(tree);
    if (has_suffix(tree, "/" OWN_GROUP))
        tree[len - strlen("/" OWN_GROUP)] = '\0';
    if (!has_controllers(self, tree))
        return vmt_err_setx(err, ENOTSUP, "no cgroup controller is delegated to us");
    if (len == mount_len) { /* of the root everything is a child */
        if (!is_delegated(self, tree))
            return vmt_err_setx(err, EPERM, "the root of all cgroups is systemd's");
        (void)snprintf(tree + len, PATH_MAX - len, "/" ROOT_GROUP "%08x",
                       hash(self->run_root));
        return make_group(self, tree) < 0
                   ? vmt_err_setx(err, EACCES, "cgroups cannot be made here")
                   : 0;
    }
    if (strlen(tree) < len) /* we are in the child already */
        return is_writable(self, tree)
                   ? 0
                   : vmt_err_setx(err, EACCES, "the cgroup %s is not ours", tree);
    if (!is_writable(self, tree) || !is_delegated(self, tree))
        return vmt_err_setx(err, EACCES,
                            "no cgroup is delegated to this daemon; start it as a unit "
                            "with Delegate=yes");
    return move_self(self, tree, err);
}

/* What cannot be enabled is not delegated; the groups are of use without it. */
static void
enable_controllers(struct linux_host *self)
{
    static const char *const wanted[] = {"+memory", "+pids", "+cpu"};
    const char *tree = self->cgroups.tree;
    const char *at = strstr(tree, "/" ROOT_GROUP);
    VMT_CLEANUP(vmt_freep) char *root = at ? strndup(tree, (size_t)(at - tree)) : NULL;
    int r = -ENOENT;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(wanted); i++) {
        if (root)
            (void)write_in(self, root, "cgroup.subtree_control", wanted[i]);
        r = write_in(self, tree, "cgroup.subtree_control", wanted[i]);
    }
    self->cgroups.has_weight = r == 0;
}

static int
cgroups_prepare(struct host *host, struct vmt_err *err)
{
    struct linux_host *self = self_of(host);
    struct linux_cgroups *g = &self->cgroups;
    struct vmt_err why = {0};
    char tree[PATH_MAX];

    if (!g->asked) {
        g->asked = true;
        g->error = find_tree(self, tree, &why);
        g->tree = g->error == 0 ? strdup(tree) : NULL;
        g->why = g->error < 0 ? strdup(why.msg) : NULL;
        if (g->error == 0 && !g->tree)
            g->error = -ENOMEM;
        if (g->error == 0)
            enable_controllers(self);
    }
    if (g->error < 0)
        return vmt_err_setx(err, -g->error, "%s", g->why ? g->why : "no cgroups");
    return 0;
}

static bool
is_name(const char *name)
{
    return vmt_str_has_prefix(name, VM_PREFIX) && !strchr(name, '/');
}

static int
cgroups_make(struct host *host, const char *name, int *ret_fd, struct vmt_err *err)
{
    struct linux_host *self = self_of(host);
    char group[PATH_MAX], path[PATH_MAX];
    int fd, r = is_name(name) ? 0 : -EINVAL;

    if (r == 0 && (size_t)snprintf(group, sizeof(group), "%s/%s", self->cgroups.tree,
                                   name) >= sizeof(group))
        r = -ENAMETOOLONG;
    if (r == 0)
        r = make_group(self, group);
    if (r == 0)
        r = make_path(self, path, "%s/cgroup.procs", group);
    if (r < 0)
        return vmt_err_set(err, -r, "make the cgroup %s", name);
    (void)write_in(self, group, "pids.max", VM_TASKS_MAX); /* where it is delegated */
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "open the cgroup %s", name);
    *ret_fd = fd;
    return 0;
}

static int
cgroups_set_weight(struct host *host, const char *name, uint32_t weight,
                   struct vmt_err *err)
{
    struct linux_host *self = self_of(host);
    char path[PATH_MAX], text[16];
    int r = is_name(name) ? 0 : -EINVAL;

    if (!self->cgroups.has_weight)
        return vmt_err_setx(err, ENOTSUP,
                            "the cpu controller is not delegated to this daemon");
    (void)snprintf(text, sizeof(text), "%u", weight);
    if (r == 0)
        r = make_path(self, path, "%s/%s/cpu.weight", self->cgroups.tree, name);
    if (r == 0)
        r = write_text(path, text);
    return r < 0 ? vmt_err_set(err, -r, "set the weight of cgroup %s", name) : 0;
}

static int
cgroups_remove(struct host *host, const char *name)
{
    struct linux_host *self = self_of(host);
    char path[PATH_MAX], kill[PATH_MAX];

    if (!self->cgroups.tree || !is_name(name) ||
        make_path(self, path, "%s/%s", self->cgroups.tree, name) < 0 ||
        make_path(self, kill, "%s/%s/cgroup.kill", self->cgroups.tree, name) < 0)
        return 0;
    if (rmdir(path) == 0 || errno != EBUSY)
        return 0;
    (void)write_text(kill, "1"); /* Linux 5.14; before, they end by themselves or not */
    return rmdir(path) < 0 && errno == EBUSY ? -EBUSY : 0;
}

static int
is_vm_group(const struct dirent *e)
{
    return vmt_str_has_prefix(e->d_name, VM_PREFIX) &&
           (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN);
}

/* Names first: fn may remove. */
static void
cgroups_each(struct host *host, void (*fn)(void *arg, const char *name), void *arg)
{
    struct linux_host *self = self_of(host);
    struct dirent **list = NULL;
    char path[PATH_MAX];
    int n;

    if (!self->cgroups.tree || make_path(self, path, "%s", self->cgroups.tree) < 0)
        return;
    n = scandir(path, &list, is_vm_group, alphasort);
    for (int i = 0; i < n; i++) {
        fn(arg, list[i]->d_name);
        free(list[i]);
    }
    free(list);
}

/* "max 100000" or "150000 100000", both in microseconds. */
static void
limit_cpus(void *arg, const struct linux_host *self, const char *group)
{
    char path[PATH_MAX + 16], text[LINUX_HOST_TEXT_MAX];
    unsigned long long quota, period, cpus;
    uint32_t *limit = arg;

    (void)snprintf(path, sizeof(path), "%s/cpu.max", group);
    linux_host_read_text(self, path, text);
    if (sscanf(text, "%llu %llu", &quota, &period) != 2 || quota == 0 || period == 0)
        return;
    cpus = (quota + period - 1) / period;
    if (cpus < UINT32_MAX && (*limit == 0 || cpus < *limit))
        *limit = (uint32_t)cpus;
}

static uint32_t
cgroups_cpu_limit(struct host *host)
{
    uint32_t limit = 0;

    linux_host_cgroups_up(self_of(host), limit_cpus, &limit);
    return limit;
}

const struct host_cgroup_ops linux_host_cgroups = {
    .prepare = cgroups_prepare,
    .make = cgroups_make,
    .set_weight = cgroups_set_weight,
    .remove = cgroups_remove,
    .each = cgroups_each,
    .cpu_limit = cgroups_cpu_limit,
};

int
linux_host_release_cgroup(const char *sys_root, struct vmt_err *err)
{
    static const char *const enabled[] = {"-memory", "-pids", "-cpu"};
    const struct linux_host self = {.sys_root =
                                        (char *)(uintptr_t)(sys_root ? sys_root : "")};
    char group[PATH_MAX];
    size_t mount_len;
    int r = linux_host_own_cgroup(&self, group, sizeof(group), &mount_len);

    if (r < 0)
        return vmt_err_set(err, -r, "find our cgroup");
    if (has_suffix(group, "/" OWN_GROUP) || has_suffix(group, "/" CONTROL_GROUP))
        *strrchr(group, '/') = '\0';
    if (strlen(group) <= mount_len)
        return vmt_err_setx(err, EINVAL, "we are not in a unit with Delegate=yes");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(enabled); i++) {
        int one = write_in(&self, group, "cgroup.subtree_control", enabled[i]);

        r = r < 0 ? r : one;
    }
    return r < 0 ? vmt_err_set(err, -r, "release the cgroup %s", group) : 0;
}
