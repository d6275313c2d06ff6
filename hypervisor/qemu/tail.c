/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/tail_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"

static void
append(struct qemu_tail *t, const char *data, size_t len)
{
    if (len >= sizeof(t->bytes)) {
        data += len - sizeof(t->bytes);
        len = sizeof(t->bytes);
    }
    if (t->len + len > sizeof(t->bytes)) {
        size_t drop = t->len + len - sizeof(t->bytes);

        memmove(t->bytes, t->bytes + drop, t->len - drop);
        t->len -= drop;
    }
    memcpy(t->bytes + t->len, data, len);
    t->len += len;
}

void
qemu_tail_add(struct qemu_tail *tail, const char *line)
{
    append(tail, line, strlen(line));
    append(tail, "\n", 1);
}

static void
end(struct qemu_tail *t)
{
    if (t->readable)
        event_free(t->readable);
    t->readable = NULL;
    vmt_closep(&t->fd);
    t->fd = -1;
}

/* Returns whether more may be there. */
static bool
read_once(struct qemu_tail *t)
{
    char chunk[QEMU_TAIL_CHUNK_MAX];
    ssize_t n = read(t->fd, chunk, sizeof(chunk));

    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        end(t);
        return false;
    }
    append(t, chunk, (size_t)n);
    if (t->on_data)
        t->on_data(t->arg);
    return true;
}

static void
tail_on_readable(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)read_once(arg);
}

int
qemu_tail_init(struct qemu_tail *tail, struct event_base *base, int *ret_write_fd,
               struct vmt_err *err)
{
    int fds[2];
    VMT_CLEANUP(vmt_closep) int write_fd = -1;

    memset(tail, 0, sizeof(*tail));
    tail->fd = -1;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe for stderr");
    tail->fd = fds[0];
    write_fd = fds[1];
    /* Only our end: QEMU writes to a plain blocking pipe, as it would to a terminal. */
    if (fcntl(tail->fd, F_SETFL, O_NONBLOCK) < 0) {
        int r = vmt_err_set(err, errno, "make a pipe non-blocking");

        end(tail);
        return r;
    }
    tail->readable =
        event_new(base, tail->fd, EV_READ | EV_PERSIST, tail_on_readable, tail);
    if (!tail->readable || event_add(tail->readable, NULL) < 0) {
        end(tail);
        return vmt_err_set(err, ENOMEM, "watch stderr");
    }
    *ret_write_fd = vmt_take_fd(&write_fd);
    return 0;
}

void
qemu_tail_drain(struct qemu_tail *tail)
{
    for (unsigned i = 0; i < QEMU_TAIL_DRAIN_ROUNDS; i++) {
        if (tail->fd < 0 || !read_once(tail))
            return;
    }
}

const char *
qemu_tail_text(const struct qemu_tail *tail, char *buf, size_t cap)
{
    const char *p = tail->bytes, *stop = tail->bytes + tail->len;
    size_t used = 0;

    buf[0] = '\0';
    while (p < stop && used + 8 < cap) {
        const char *nl = memchr(p, '\n', (size_t)(stop - p));
        size_t len = (size_t)((nl ? nl : stop) - p);

        if (len > 0) {
            if (used > 0)
                used += (size_t)snprintf(buf + used, cap - used, "; ");
            (void)vmt_log_escape(buf + used, cap - used, p, len);
            used += strlen(buf + used);
        }
        p += len + (nl ? 1 : 0);
    }
    return buf;
}

void
qemu_tail_done(struct qemu_tail *tail)
{
    end(tail);
}
