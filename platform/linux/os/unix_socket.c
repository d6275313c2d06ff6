/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/unix_socket.c - make and reach unix stream sockets at any path. */
#include "platform/linux/os/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/unix_socket_internal.h"

/* A leftover of a process that died between bind and rename is passed by. */
#define UNIX_TEMP_TRIES 8

/* A path split for openat and friends. */
struct unix_path {
    char *dir;        /* owned */
    const char *name; /* borrowed from the whole path */
    int dir_fd;       /* owned */
};

static void
unix_path_done(struct unix_path *p)
{
    free(p->dir);
    vmt_closep(&p->dir_fd);
}

static int
unix_path_init(struct unix_path *p, const char *path)
{
    const char *slash = strrchr(path, '/');

    p->name = slash ? slash + 1 : path;
    if (!*p->name)
        return -EISDIR;
    if (!slash)
        p->dir = strdup(".");
    else if (slash == path)
        p->dir = strdup("/");
    else
        p->dir = strndup(path, (size_t)(slash - path));
    if (!p->dir)
        return -ENOMEM;
    p->dir_fd = open(p->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return p->dir_fd < 0 ? -errno : 0;
}

/* The address of name in p's directory: the plain path where it fits, else by way of the
 * open directory, which needs /proc. */
static int
unix_address(const struct unix_path *p, const char *name, struct sockaddr_un *ret)
{
    int n;

    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", p->dir, name);
    if (n > 0 && (size_t)n < sizeof(ret->sun_path))
        return 0;
    n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", p->dir_fd,
                 name);
    return n > 0 && (size_t)n < sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

/* Bind fd to a fresh temporary name, which is written to name[20]. */
static int
unix_bind_temporary(int fd, const struct unix_path *p, char name[20])
{
    struct sockaddr_un addr;
    int r = -EADDRINUSE;

    for (int i = 0; i < UNIX_TEMP_TRIES && r == -EADDRINUSE; i++) {
        uint32_t random;

        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
            return -EIO;
        (void)snprintf(name, 20, ".sock-%08x", random);
        r = unix_address(p, name, &addr);
        if (r == 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
            r = -errno;
    }
    return r;
}

/* The name exists from bind on, but nobody gets in before listen, and nobody knows the
 * name before rename. */
static int
unix_publish(int fd, const struct unix_path *p, const char *temp, mode_t mode,
             int backlog)
{
    if (fchmodat(p->dir_fd, temp, mode, 0) < 0 || listen(fd, backlog) < 0 ||
        renameat(p->dir_fd, temp, p->dir_fd, p->name) < 0) {
        int r = -errno;

        (void)unlinkat(p->dir_fd, temp, 0);
        return r;
    }
    return 0;
}

int
os_unix_listen(const char *path, mode_t mode, int backlog, int *ret_fd,
               struct vmt_err *err)
{
    VMT_CLEANUP(unix_path_done) struct unix_path p = {.dir_fd = -1};
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char temp[20];
    int r = unix_path_init(&p, path);

    if (r < 0)
        return vmt_err_set(err, -r, "open the directory of socket %s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return vmt_err_set(err, errno, "make socket %s", path);
    r = unix_bind_temporary(fd, &p, temp);
    if (r == 0)
        r = unix_publish(fd, &p, temp, mode, backlog);
    if (r < 0)
        return vmt_err_set(err, -r, "listen at %s", path);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

static int
unix_connect(const char *path, int type_flags, int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(unix_path_done) struct unix_path p = {.dir_fd = -1};
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct sockaddr_un addr;
    int r = unix_path_init(&p, path);

    if (r == 0)
        r = unix_address(&p, p.name, &addr);
    if (r < 0)
        return vmt_err_set(err, -r, "connect to %s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
    if (fd < 0)
        return vmt_err_set(err, errno, "make a socket for %s", path);
    do {
        r = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
    } while (r == -EINTR);
    if (r < 0)
        return vmt_err_set(err, -r, "connect to %s", path);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

int
os_unix_connect(const char *path, int *ret_fd, struct vmt_err *err)
{
    return unix_connect(path, 0, ret_fd, err);
}

int
os_unix_connect_nonblock(const char *path, int *ret_fd, struct vmt_err *err)
{
    return unix_connect(path, SOCK_NONBLOCK, ret_fd, err);
}
