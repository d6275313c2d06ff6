/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/forward_socket.c - addresses and listening sockets of our side. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/vsh/forward_internal.h"

#define BACKLOG 64

static void
addrinfo_free(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

/* The addresses of a name. Returns 0 or -EHOSTUNREACH with words. */
static int
look_up(const struct vsh_address *at, bool listen, struct addrinfo **ret,
        struct vmt_err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const char *host = *at->host ? at->host : "127.0.0.1";
    char port[8];
    int r;

    (void)snprintf(port, sizeof(port), "%u", at->port);
    hints.ai_flags = AI_NUMERICSERV | (listen ? AI_PASSIVE : 0);
    if (listen && strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    r = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, port, &hints, ret);
    if (r != 0)
        return vmt_err_setx(err, EHOSTUNREACH, "%s: %s", host, gai_strerror(r));
    return 0;
}

int
forward_target_find(const struct vsh_address *to, struct forward_target *ret,
                    struct vmt_err *err)
{
    VMT_CLEANUP(addrinfo_free) struct addrinfo *list = NULL;
    int r;

    if (*to->path) {
        ret->path = to->path;
        return 0;
    }
    r = look_up(to, false, &list, err);
    for (struct addrinfo *a = list; r == 0 && a && ret->n < FORWARD_ADDRESSES_MAX;
         a = a->ai_next)
        if (getnameinfo(a->ai_addr, a->ai_addrlen, ret->addresses[ret->n],
                        sizeof(ret->addresses[0]), NULL, 0, NI_NUMERICHOST) == 0)
            ret->n++;
    ret->port = (uint16_t)to->port;
    if (r == 0 && ret->n == 0)
        r = vmt_err_setx(err, EHOSTUNREACH, "%s has no address", to->host);
    return r;
}

static int
listen_at(const struct addrinfo *a)
{
    VMT_CLEANUP(vmt_closep)
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return vmt_take_fd(&fd);
}

/* A file that is there belongs to somebody, unless it is a socket that nobody serves. */
static int
listen_unix(const char *path, int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int probe = -1;
    struct stat st;

    if (lstat(path, &st) == 0 &&
        (!S_ISSOCK(st.st_mode) || os_unix_connect(path, &probe, NULL) != -ECONNREFUSED))
        return vmt_err_set(err, EADDRINUSE, "listen at %s", path);
    return os_unix_listen(path, 0600, BACKLOG, ret_fd, err);
}

int
forward_listen(const struct vsh_address *at, int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(addrinfo_free) struct addrinfo *list = NULL;
    int fd = -EADDRNOTAVAIL, r;

    if (*at->path)
        return listen_unix(at->path, ret_fd, err);
    r = look_up(at, true, &list, err);
    if (r < 0)
        return r;
    for (struct addrinfo *a = list; fd < 0 && a; a = a->ai_next)
        fd = listen_at(a);
    if (fd < 0)
        return vmt_err_set(err, -fd, "listen at %s:%u",
                           *at->host ? at->host : "localhost", at->port);
    *ret_fd = fd;
    return 0;
}
