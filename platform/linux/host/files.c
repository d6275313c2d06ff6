/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"
#include "platform/linux/os/process.h"
#include "platform/linux/os/unix_socket.h"

#define DIR_PREFIX "vm."
#define BACKLOG 64
#define CMDLINE_BYTES_MAX 65536

static struct linux_host *
self_of(struct host *host)
{
    return VMT_CONTAINER_OF(host, struct linux_host, base);
}

static int
check_kind(const struct stat *st, const char *what, struct vmt_err *err)
{
    if (S_ISLNK(st->st_mode))
        return vmt_err_set(err, ELOOP, "open image %s", what);
    if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
        return vmt_err_setx(
            err, EINVAL, "image %s is neither a regular file nor a block device", what);
    return 0;
}

/* Looked at before it is opened: opening a device or a pipe has effects. */
/* Files of others are not lent to a caller who is neither root nor ourselves. */
static int
check_owner(const struct stat *st, uint32_t uid, const char *path, struct vmt_err *err)
{
    if (uid != 0 && uid != geteuid() && st->st_uid != uid)
        return vmt_err_setx(err, EACCES, "image %s is not a file of yours", path);
    return 0;
}

static int
files_image_open(struct host *host, const char *path, bool writable, uint32_t uid,
                 int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int place = -1;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char link[64];
    struct stat st;
    int r;

    (void)host;
    if (path[0] != '/')
        return vmt_err_setx(err, EINVAL, "image \"%s\" is no absolute path", path);
    place = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (place < 0 || linux_host_look(place, &st) < 0)
        return vmt_err_set(err, errno, "open image %s", path);
    r = check_kind(&st, path, err);
    if (r == 0)
        r = check_owner(&st, uid, path, err);
    if (r < 0)
        return r;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", place);
    fd = open(link, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "open image %s", path);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

static int
files_image_folder(struct host *host, const char *path, uint32_t uid, int *ret_fd,
                   struct vmt_err *err)
{
    const char *slash = strrchr(path, '/');
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st;
    int r;

    (void)host;
    if (path[0] != '/' || !slash[1])
        return vmt_err_setx(err, EINVAL, "image \"%s\" is no absolute path", path);
    dir = strndup(path, (size_t)(slash - path) + 1);
    if (!dir)
        return vmt_err_set(err, ENOMEM, "open the folder of image %s", path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstatat(fd, slash + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return vmt_err_set(err, errno, "open the folder of image %s", path);
    r = check_kind(&st, path, err);
    if (r == 0)
        r = check_owner(&st, uid, path, err);
    if (r == 0)
        *ret_fd = vmt_take_fd(&fd);
    return r;
}

static int
files_image_check(struct host *host, int fd, bool *ret_writable, struct vmt_err *err)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL), r;

    (void)host;
    if (flags < 0 || linux_host_look(fd, &st) < 0)
        return vmt_err_set(err, errno, "look at the image");
    r = check_kind(&st, "of a descriptor", err);
    if (r < 0)
        return r;
    if (flags & O_PATH)
        return vmt_err_setx(err, EINVAL, "the image is not open for reading");
    *ret_writable = (flags & O_ACCMODE) == O_RDWR;
    return 0;
}

static int
files_image_reopen(struct host *host, int fd, int *ret_fd, struct vmt_err *err)
{
    char link[64];
    int copy;

    (void)host;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    copy = open(link, O_RDONLY | O_CLOEXEC);
    if (copy < 0)
        return vmt_err_set(err, errno, "open the image of a descriptor for reading only");
    *ret_fd = copy;
    return 0;
}

/* Look at the file of a path without asking a server: the way to an open file is known.
 * Source: openat2(2), RESOLVE_CACHED, Linux 5.12. Returns 0, or -1 and errno. */
static int
look_by_path(const char *path, struct stat *ret_st)
{
    const struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                                 .resolve = RESOLVE_CACHED};
    VMT_CLEANUP(vmt_closep)
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

    if (fd < 0 && (errno == EINVAL || errno == ENOSYS))
        return lstat(path, ret_st);
    return fd < 0 ? -1 : linux_host_look(fd, ret_st);
}

/* A file that was removed has a name with words behind it, which no file has. */
static void
files_image_place(struct host *host, int fd, struct host_place *ret_place)
{
    char link[64];
    struct stat st, at;
    ssize_t n;

    (void)host;
    *ret_place = (struct host_place){.path = ""};
    if (linux_host_look(fd, &st) < 0)
        return;
    ret_place->device = st.st_dev;
    ret_place->inode = st.st_ino;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, ret_place->path, sizeof(ret_place->path) - 1);
    if (n < 0 || (size_t)n == sizeof(ret_place->path) - 1)
        n = 0;
    ret_place->path[n] = '\0';
    if (ret_place->path[0] != '/' || look_by_path(ret_place->path, &at) < 0 ||
        at.st_dev != st.st_dev || at.st_ino != st.st_ino)
        ret_place->path[0] = '\0';
}

static void
files_close(struct host *host, int fd)
{
    (void)host;
    vmt_closep(&fd);
}

static int
files_listen(struct host *host, const char *path, int *ret_fd, struct vmt_err *err)
{
    (void)host;
    return os_unix_listen(path, 0600, BACKLOG, ret_fd, err);
}

static int
files_dir_make(struct host *host, char **ret_path, struct vmt_err *err)
{
    struct linux_host *self = self_of(host);
    VMT_CLEANUP(vmt_freep) char *path = NULL;

    if (asprintf(&path, "%s/" DIR_PREFIX "XXXXXX", self->run_root) < 0) {
        path = NULL;
        return vmt_err_set(err, ENOMEM, "make the VM's directory");
    }
    if (!mkdtemp(path))
        return vmt_err_set(err, errno, "make the VM's directory %s", path);
    *ret_path = vmt_take_ptr(&path);
    return 0;
}

/* A record is a file that could be damaged: what it names is removed only if it is a
 * directory that files_dir_make could have made. */
static bool
is_ours(const struct linux_host *self, const char *path)
{
    size_t len = strlen(self->run_root);

    return strncmp(path, self->run_root, len) == 0 &&
           vmt_str_has_prefix(path + len, "/" DIR_PREFIX) && !strchr(path + len + 1, '/');
}

static int
files_dir_remove(struct host *host, const char *path, struct vmt_err *err)
{
    if (!is_ours(self_of(host), path))
        return vmt_err_setx(err, EINVAL, "%s is no directory of a VM", path);
    return os_remove_tree(path, err);
}

static int
is_vm_dir(const struct dirent *e)
{
    return vmt_str_has_prefix(e->d_name, DIR_PREFIX) &&
           (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN);
}

/* Names first: fn may remove. */
static int
files_dir_each(struct host *host, void (*fn)(void *arg, const char *path), void *arg,
               struct vmt_err *err)
{
    struct linux_host *self = self_of(host);
    struct dirent **list = NULL;
    int n = scandir(self->run_root, &list, is_vm_dir, alphasort);

    if (n < 0)
        return vmt_err_set(err, errno, "list the VM directories in %s", self->run_root);
    for (int i = 0; i < n; i++) {
        VMT_CLEANUP(vmt_freep) char *path = NULL;

        if (asprintf(&path, "%s/%s", self->run_root, list[i]->d_name) < 0)
            path = NULL;
        if (path)
            fn(arg, path);
        free(list[i]);
    }
    free(list);
    return 0;
}

/* Does one of the NUL-terminated arguments begin with mark? */
static bool
has_argument(const char *data, size_t len, const char *mark)
{
    for (size_t at = 0; at < len; at += strnlen(data + at, len - at) + 1) {
        if (len - at >= strlen(mark) && memcmp(data + at, mark, strlen(mark)) == 0)
            return true;
    }
    return false;
}

/* Does a process of ours have path in its command line, and an argument with mark? */
static bool
uses(int32_t pid, const char *path, const char *mark)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len = 0;
    char name[64];
    struct stat st;

    (void)snprintf(name, sizeof(name), "/proc/%d", pid);
    if (pid == getpid() || stat(name, &st) < 0 || st.st_uid != geteuid())
        return false;
    (void)snprintf(name, sizeof(name), "/proc/%d/cmdline", pid);
    if (os_read_file(name, CMDLINE_BYTES_MAX, &data, &len, NULL) < 0)
        return false;
    return memmem(data, len, path, strlen(path)) != NULL &&
           (!mark || has_argument(data, len, mark));
}

static size_t
files_dir_users(struct host *host, const char *path, const char *mark,
                struct spawn_id *ids, size_t max)
{
    DIR *proc;
    size_t n = 0;

    if (!is_ours(self_of(host), path))
        return 0;
    proc = opendir("/proc");
    if (!proc)
        return 0;
    for (struct dirent *e = readdir(proc); e && n < max; e = readdir(proc)) {
        uint64_t pid;

        if (vmt_parse_u64(e->d_name, INT32_MAX, &pid) < 0 ||
            !uses((int32_t)pid, path, mark))
            continue;
        ids[n].pid = (int32_t)pid;
        if (os_process_start_time(ids[n].pid, &ids[n].start_time) == 0)
            n++;
    }
    (void)closedir(proc);
    return n;
}

const struct host_file_ops linux_host_files = {
    .image_open = files_image_open,
    .image_folder = files_image_folder,
    .image_check = files_image_check,
    .image_reopen = files_image_reopen,
    .image_place = files_image_place,
    .close = files_close,
    .listen = files_listen,
    .dir_make = files_dir_make,
    .dir_remove = files_dir_remove,
    .dir_each = files_dir_each,
    .dir_users = files_dir_users,
};
