/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/local_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"

/* A pipe that polls writable takes that much without blocking (POSIX: PIPE_BUF). */
#define SHARED_WRITE_MAX 4096u

/* epoll refuses what is always ready: files, /dev/null, /dev/zero. */
static bool
pollable(int fd)
{
    VMT_CLEANUP(vmt_closep) int probe = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {0};

    return probe < 0 || epoll_ctl(probe, EPOLL_CTL_ADD, fd, &ev) == 0 || errno != EPERM;
}

/* Open the same pipe or terminal once more, with an open file description of our own:
 * O_NONBLOCK on the inherited one would reach every process that shares it. */
static int
reopen(int fd, bool for_writing)
{
    int flags = O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (for_writing ? O_WRONLY : O_RDONLY);
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags);
}

void
local_fd_open(struct local_fd *local, int fd, bool for_writing)
{
    struct stat st;

    *local = (struct local_fd){.fd = fd, .work = fd, .kind = LOCAL_SHARED};
    if (fstat(fd, &st) < 0)
        return;
    if (S_ISSOCK(st.st_mode)) {
        local->kind = LOCAL_SOCKET;
        return;
    }
    if (!pollable(fd)) {
        local->kind = LOCAL_FILE;
        return;
    }
    local->work = reopen(fd, for_writing);
    if (local->work < 0)
        local->work = fd;
    else
        local->kind = LOCAL_OWN;
}

void
local_fd_close(struct local_fd *local, bool close_fd)
{
    VMT_CLEANUP(vmt_closep) int null = -1;

    if (local->work >= 0 && local->work != local->fd)
        (void)close(local->work);
    if (local->fd >= 0 && close_fd) {
        null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (null < 0 || dup2(null, local->fd) < 0)
            (void)close(local->fd);
    }
    local->fd = local->work = -1;
}

/* Would the call block? Only asked where the descriptor itself may not say so. */
static bool
would_block(const struct local_fd *local, short events)
{
    struct pollfd p = {.fd = local->work, .events = events};

    return local->kind == LOCAL_SHARED && poll(&p, 1, 0) == 0;
}

ssize_t
local_fd_read(const struct local_fd *local, void *buf, size_t cap)
{
    ssize_t n;

    if (would_block(local, POLLIN))
        return -EAGAIN;
    if (local->kind == LOCAL_SOCKET)
        n = recv(local->work, buf, cap, MSG_DONTWAIT);
    else
        n = read(local->work, buf, cap);
    return n < 0 ? -errno : n;
}

ssize_t
local_fd_write(const struct local_fd *local, const void *data, size_t len)
{
    ssize_t n;

    if (would_block(local, POLLOUT))
        return -EAGAIN;
    if (local->kind == LOCAL_SHARED && len > SHARED_WRITE_MAX)
        len = SHARED_WRITE_MAX;
    if (local->kind == LOCAL_SOCKET)
        n = send(local->work, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        n = write(local->work, data, len);
    return n < 0 ? -errno : n;
}
