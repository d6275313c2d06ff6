/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/hybrid.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/vsock/mux.h"
#include "platform/linux/vm_vsock/device.h"

/* "CONNECT 4294967295\n" has 19 bytes. */
#define LINE_MAX_BYTES 32u
#define LINE_DEADLINE_SEC 5
/* Programs that connected and did not send their line yet; more wait in the backlog. */
#define HANDSHAKES_MAX 64u
#define ACCEPT_BURST 16u
#define ACCEPT_PAUSE_MS 100
/* A listener whose backlog is full gets this long; it is also how long Linux guests wait
 * for a connection (VSOCK_DEFAULT_CONNECT_TIMEOUT). */
#define OPEN_RETRY_MS 10
#define OPEN_RETRIES 200u

struct hybrid {
    struct event_base *base; /* borrowed */
    char *prefix;            /* owned */
    const char *name;        /* last part of prefix */
    int dir_fd;              /* owned; what comes before */
    int listen_fd;           /* owned */
    struct event *accept;    /* owned */
    struct event *resume;    /* owned; accepting goes on */
    struct vsock_mux *mux;   /* borrowed */
    struct vsock_device *dev;
    struct vmt_list ends; /* all struct hybrid_end */
    unsigned handshakes;
};

/* One unix socket: first in its handshake, or being opened, then part of a connection. */
struct hybrid_end {
    struct hybrid *hybrid; /* borrowed */
    struct vmt_list node;
    int fd;              /* owned */
    struct event *io;    /* owned; reading, all the time */
    struct event *room;  /* owned; writing, only after it stopped once: every reader that
                          * makes room would wake us up otherwise */
    struct event *timer; /* owned; deadline of the handshake, or the next try */
    struct vsock_conn *conn; /* borrowed; NULL during the handshake */
    uint32_t port;           /* of the host, while being opened */
    unsigned tries;
    bool handshake;
    bool busy, closed; /* its own callback runs; freed at the end of that */
};

static void
accept_pause(struct hybrid *hybrid)
{
    (void)event_del(hybrid->accept);
}

static void
end_handshake_done(struct hybrid_end *end)
{
    struct hybrid *hybrid = end->hybrid;

    if (!end->handshake)
        return;
    end->handshake = false;
    if (hybrid->handshakes-- == HANDSHAKES_MAX)
        (void)event_add(hybrid->accept, NULL);
}

static void
end_free(struct hybrid_end *end)
{
    if (end->io)
        event_free(end->io);
    if (end->room)
        event_free(end->room);
    if (end->timer)
        event_free(end->timer);
    vmt_closep(&end->fd);
    free(end);
}

/* Close the socket at once; the memory stays while a callback of it is on the stack. */
static void
end_close(struct hybrid_end *end)
{
    end_handshake_done(end);
    vmt_list_remove(&end->node);
    end->conn = NULL;
    if (!end->busy) {
        end_free(end);
        return;
    }
    end->closed = true;
    (void)event_del(end->io);
    (void)event_del(end->room);
    (void)event_del(end->timer);
    vmt_closep(&end->fd);
    end->fd = -1;
}

/* Take one line off the socket, and nothing after it: that belongs to the guest. Returns
 * 1, 0 when it is not all there, -errno when it never will be. */
static int
end_read_line(struct hybrid_end *end, char line[LINE_MAX_BYTES + 1])
{
    ssize_t n = recv(end->fd, line, LINE_MAX_BYTES, MSG_PEEK);
    char *newline;

    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    newline = memchr(line, '\n', (size_t)n);
    if (!newline)
        return n == 0 || n == LINE_MAX_BYTES ? -EPROTO : 0;
    n = newline + 1 - line;
    if (recv(end->fd, line, (size_t)n, 0) != n)
        return -EIO;
    *newline = '\0';
    return 1;
}

/* The program wants the guest's port. */
static void
end_dial(struct hybrid_end *end, const char *line)
{
    struct hybrid *hybrid = end->hybrid;
    struct vsock_conn *conn = NULL;
    uint64_t port = 0;

    end_handshake_done(end);
    (void)event_del(end->timer);
    /* Without a guest there is nobody to wait for; the program may try again. */
    if (!vmt_str_has_prefix(line, "CONNECT ") ||
        vmt_parse_u64(line + strlen("CONNECT "), UINT32_MAX - 1, &port) < 0 ||
        !vsock_device_is_ready(hybrid->dev) ||
        vsock_mux_connect(hybrid->mux, (uint32_t)port, end, &conn) < 0) {
        end_close(end);
        return;
    }
    end->conn = conn;
}

static void
end_handshake(struct hybrid_end *end)
{
    char line[LINE_MAX_BYTES + 1];
    int r = end_read_line(end, line);

    if (r > 0)
        end_dial(end, line);
    else if (r < 0)
        end_close(end);
}

static void
on_end_io(evutil_socket_t fd, short what, void *arg)
{
    struct hybrid_end *end = arg;
    struct hybrid *hybrid = end->hybrid;

    (void)fd;
    end->busy = true;
    if (end->handshake)
        end_handshake(end);
    else if (end->conn)
        vsock_conn_on_io(end->conn, what & EV_READ, what & EV_WRITE);
    vsock_device_pump(hybrid->dev);
    end->busy = false;
    if (end->closed)
        end_free(end);
}

static void end_try_open(struct hybrid_end *end);

static void
on_end_timer(evutil_socket_t fd, short what, void *arg)
{
    struct hybrid_end *end = arg;
    struct hybrid *hybrid = end->hybrid;

    (void)fd;
    (void)what;
    end->busy = true;
    if (end->handshake)
        end_close(end);
    else
        end_try_open(end);
    vsock_device_pump(hybrid->dev);
    end->busy = false;
    if (end->closed)
        end_free(end);
}

/* Take over fd, always. Edge-triggered: the state machine remembers what it may do, and
 * no call is spent on changing what is watched. */
static int
end_new(struct hybrid *hybrid, int fd, struct hybrid_end **ret_end)
{
    struct hybrid_end *end = calloc(1, sizeof(*end));

    if (!end) {
        vmt_closep(&fd);
        return -ENOMEM;
    }
    end->hybrid = hybrid;
    end->fd = fd;
    end->io = event_new(hybrid->base, fd, EV_READ | EV_PERSIST | EV_ET, on_end_io, end);
    end->room = event_new(hybrid->base, fd, EV_WRITE | EV_ET, on_end_io, end);
    end->timer = evtimer_new(hybrid->base, on_end_timer, end);
    if (!end->io || !end->room || !end->timer) {
        end_free(end);
        return -ENOMEM;
    }
    vmt_list_append(&hybrid->ends, &end->node);
    *ret_end = end;
    return 0;
}

static int
end_arm(struct hybrid_end *end, unsigned ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    return evtimer_add(end->timer, &tv) < 0 ? -ENOMEM : 0;
}

/* Returns 0, -EAGAIN (the listener's backlog is full), or why not. */
static int
end_connect(struct hybrid_end *end)
{
    struct hybrid *hybrid = end->hybrid;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", hybrid->prefix,
                     end->port);

    if (n < 0 || (size_t)n >= sizeof(addr.sun_path)) /* too long: by way of /proc */
        (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s_%u",
                       hybrid->dir_fd, hybrid->name, end->port);
    if (connect(end->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return 0;
    return errno == EINTR || errno == EINPROGRESS ? -EAGAIN : -errno;
}

/* The next try of an open that is in progress. */
static void
end_try_open(struct hybrid_end *end)
{
    struct vsock_conn *conn = end->conn;
    int r = end_connect(end);

    if (r == -EAGAIN && end->tries++ < OPEN_RETRIES && end_arm(end, OPEN_RETRY_MS) == 0)
        return;
    if (r == 0 && event_add(end->io, NULL) < 0)
        r = -ENOMEM;
    if (r < 0)
        end_close(end);
    vsock_conn_on_opened(conn, r);
}

static int
host_open(void *arg, struct vsock_conn *conn, uint32_t host_port, void **ret_host)
{
    struct hybrid *hybrid = arg;
    struct hybrid_end *end = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    if (fd < 0)
        return -errno;
    r = end_new(hybrid, fd, &end);
    if (r < 0)
        return r;
    end->conn = conn;
    end->port = host_port;
    r = end_connect(end);
    if (r == -EAGAIN)
        r = end_arm(end, OPEN_RETRY_MS) < 0 ? -ENOMEM : -EINPROGRESS;
    else if (r == 0 && event_add(end->io, NULL) < 0)
        r = -ENOMEM;
    if (r < 0 && r != -EINPROGRESS) {
        end_close(end);
        return r;
    }
    *ret_host = end;
    return r;
}

static int
host_accepted(void *host, uint32_t host_port)
{
    struct hybrid_end *end = host;
    char line[LINE_MAX_BYTES];
    int n = snprintf(line, sizeof(line), "OK %u\n", host_port);

    /* Nothing was sent on this socket before, so that it fits or the peer is gone. */
    return send(end->fd, line, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EPIPE;
}

static ssize_t
host_read(void *host, const struct iovec *iov, size_t n)
{
    struct hybrid_end *end = host;
    ssize_t got;

    do {
        got = readv(end->fd, iov, (int)n);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : -errno;
}

static size_t
iov_bytes(const struct iovec *iov, size_t n)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

static ssize_t
host_write(void *host, const struct iovec *iov, size_t n)
{
    struct hybrid_end *end = host;
    union {
        const struct iovec *in;
        struct iovec *out; /* sendmsg does not change it */
    } pieces = {.in = iov};
    struct msghdr msg = {.msg_iov = pieces.out, .msg_iovlen = n};
    ssize_t sent;

    do {
        sent = sendmsg(end->fd, &msg, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN)
        return -errno;
    if (sent < 0 || (size_t)sent < iov_bytes(iov, n)) {
        if (event_add(end->room, NULL) < 0)
            return -ENOMEM;
    }
    return sent < 0 ? -EAGAIN : sent;
}

static void
host_shutdown(void *host, unsigned flags)
{
    struct hybrid_end *end = host;

    if (flags & VSOCK_SHUTDOWN_SEND)
        (void)shutdown(end->fd, SHUT_WR);
    if (flags & VSOCK_SHUTDOWN_RCV)
        (void)shutdown(end->fd, SHUT_RD);
}

static bool
host_hung_up(void *host)
{
    struct hybrid_end *end = host;
    struct pollfd p = {.fd = end->fd};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static void
host_close(void *host)
{
    end_close(host);
}

const struct vsock_host_ops hybrid_host_ops = {
    .open = host_open,
    .accepted = host_accepted,
    .read = host_read,
    .write = host_write,
    .shutdown = host_shutdown,
    .hung_up = host_hung_up,
    .close = host_close,
};

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct hybrid *hybrid = arg;

    (void)fd;
    (void)what;
    if (hybrid->handshakes < HANDSHAKES_MAX)
        (void)event_add(hybrid->accept, NULL);
}

/* One program. Returns 0, -errno when no more can be accepted now. */
static int
accept_one(struct hybrid *hybrid)
{
    struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    struct hybrid_end *end = NULL;
    int fd = accept4(hybrid->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int r;

    if (fd < 0) {
        r = -errno;
        if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS) {
            accept_pause(hybrid);
            (void)evtimer_add(hybrid->resume, &pause);
        }
        return r == -EINTR || r == -ECONNABORTED ? 0 : r;
    }
    r = end_new(hybrid, fd, &end);
    if (r < 0)
        return r;
    end->handshake = true;
    if (++hybrid->handshakes == HANDSHAKES_MAX)
        accept_pause(hybrid);
    if (end_arm(end, LINE_DEADLINE_SEC * 1000) < 0 || event_add(end->io, NULL) < 0)
        end_close(end);
    return hybrid->handshakes == HANDSHAKES_MAX ? -EAGAIN : 0;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct hybrid *hybrid = arg;

    (void)fd;
    (void)what;
    for (unsigned i = 0; i < ACCEPT_BURST && accept_one(hybrid) == 0; i++)
        ;
}

VMT_DEFINE_FREEP(struct hybrid, hybrid_free)

static int
open_dir_of(const char *prefix, int *ret_fd, struct vmt_err *err)
{
    const char *slash = strrchr(prefix, '/');
    size_t len = slash == prefix ? 1 : slash ? (size_t)(slash - prefix) : 0;
    VMT_CLEANUP(vmt_freep) char *dir = len ? strndup(prefix, len) : strdup(".");

    if (!dir)
        return vmt_err_set(err, ENOMEM, "create host side");
    *ret_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? vmt_err_set(err, errno, "open directory %s", dir) : 0;
}

int
hybrid_new(struct event_base *base, const char *prefix, struct hybrid **ret_hybrid,
           struct vmt_err *err)
{
    VMT_CLEANUP(hybrid_freep) struct hybrid *hybrid = calloc(1, sizeof(*hybrid));
    const char *slash;
    int r;

    if (!hybrid)
        return vmt_err_set(err, ENOMEM, "create host side");
    vmt_list_init(&hybrid->ends);
    hybrid->base = base;
    hybrid->dir_fd = hybrid->listen_fd = -1;
    hybrid->prefix = strdup(prefix);
    if (!hybrid->prefix)
        return vmt_err_set(err, ENOMEM, "create host side");
    slash = strrchr(hybrid->prefix, '/');
    hybrid->name = slash ? slash + 1 : hybrid->prefix;
    r = open_dir_of(prefix, &hybrid->dir_fd, err);
    if (r < 0)
        return r;
    *ret_hybrid = vmt_take_ptr(&hybrid);
    return 0;
}

void
hybrid_free(struct hybrid *hybrid)
{
    if (!hybrid)
        return;
    if (hybrid->accept)
        event_free(hybrid->accept);
    if (hybrid->resume)
        event_free(hybrid->resume);
    VMT_LIST_FOREACH(node, next, &hybrid->ends)
    {
        end_free(VMT_CONTAINER_OF(node, struct hybrid_end, node));
    }
    vmt_closep(&hybrid->listen_fd);
    vmt_closep(&hybrid->dir_fd);
    free(hybrid->prefix);
    free(hybrid);
}

void
hybrid_attach(struct hybrid *hybrid, struct vsock_mux *mux, struct vsock_device *dev)
{
    hybrid->mux = mux;
    hybrid->dev = dev;
}

int
hybrid_start(struct hybrid *hybrid, int fd, struct vmt_err *err)
{
    hybrid->accept = event_new(hybrid->base, fd, EV_READ | EV_PERSIST, on_accept, hybrid);
    hybrid->resume = evtimer_new(hybrid->base, on_resume, hybrid);
    if (!hybrid->accept || !hybrid->resume || event_add(hybrid->accept, NULL) < 0)
        return vmt_err_set(err, ENOMEM, "watch the host's socket");
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return vmt_err_set(err, errno, "make the host's socket non-blocking");
    hybrid->listen_fd = fd;
    return 0;
}
